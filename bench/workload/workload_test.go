// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen opens a listener on loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dialerTo(addr net.Addr) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp4", addr.String())
	}
}

// startServer serves on loopback until the end of the test.
func startServer(t testing.TB) Dialer {
	t.Helper()
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dialerTo(ln.Addr())
}

// workloads are short forms of all.
func workloads() map[string]struct {
	Workload
	done           int
	sent, received int64
} {
	page := NewPage(1)
	voice := NewVoice(1, 1, true)
	voice.Interval = time.Millisecond
	type expected = struct {
		Workload
		done           int
		sent, received int64
	}
	return map[string]expected{
		"bulk down":         {Bulk{Streams: 2, Bytes: 3e6}, 2, 2 * askSize, 6e6},
		"bulk up":           {Bulk{Up: true, Streams: 2, Bytes: 3e6}, 2, 6e6, 2},
		"exchanges":         {Exchanges{PerSecond: 1000, Count: 50, Connections: 3, Request: Fixed(100), Answer: Fixed(2000)}, 50, 5000, 100e3},
		"exchanges, single": {Exchanges{PerSecond: 1000, Count: 50, Request: Fixed(100), Answer: Fixed(2000), Serve: time.Millisecond}, 50, 5000, 100e3},
		"clients":           {Clients{Clients: 3, Each: 5, Think: time.Millisecond, Request: Fixed(100), Answer: Fixed(100e3)}, 15, 1500, 15 * 100e3},
		"clients, fresh":    {Clients{Clients: 3, Each: 5, Fresh: true, Request: Fixed(100), Answer: Fixed(1)}, 15, 1500, 15},
		"thin up":           {Thin{Up: true, Size: 100, Interval: time.Millisecond, Count: 20}, 20, 2000, 0},
		"thin down":         {Thin{Size: 100, Interval: time.Millisecond, Count: 20}, 20, 0, 2000},
		"browse":            {Browse{Pages: []Page{page, page}}, 2, int64(2 * len(page.Objects) * requestSize), 2 * page.Bytes()},
		"voice":             {voice, 1, 0, 8*100 + 750},
		"typing":            {Typing{Keys: 30, Mean: time.Millisecond}, 30, 30 * keyPacket, 0},
		"beside":            {Beside{[]Workload{Typing{Keys: 3, Mean: time.Millisecond}, Typing{Keys: 4, Mean: time.Millisecond}}, time.Millisecond}, 7, 7 * keyPacket, 0},
		"tunnels":           {Tunnels{Count: 70, Opening: 16, Idle: time.Millisecond}, 70, 70 * tunnelExchange, 70 * tunnelExchange},
	}
}

func TestWorkloads(t *testing.T) {
	dial := startServer(t)
	for name, w := range workloads() {
		t.Run(name, func(t *testing.T) {
			r, err := w.Run(t.Context(), dial)
			if err != nil {
				t.Fatal(err)
			}
			if r.Done != w.done || r.Failed != 0 || int(r.Latency.Count()) != w.done || len(r.Samples) != w.done {
				t.Errorf("%d done, %d failed (%s), %d latencies, %d samples, want %d", r.Done, r.Failed, r.Error, r.Latency.Count(), len(r.Samples), w.done)
			}
			if w.sent > 0 && r.Sent != w.sent || w.received > 0 && r.Received != w.received {
				t.Errorf("sent %d, received %d, want %d, %d", r.Sent, r.Received, w.sent, w.received)
			}
			for _, s := range r.Samples {
				if s.Took <= 0 || s.Took > Patience {
					t.Errorf("took %v", s.Took)
				}
			}
			if w.String() == "" {
				t.Error("says nothing of itself")
			}
		})
	}
}

// TestRefused counts everything as failed if there is no server.
func TestRefused(t *testing.T) {
	ln := listen(t)
	ln.Close()
	for name, w := range workloads() {
		t.Run(name, func(t *testing.T) {
			r, err := w.Run(t.Context(), dialerTo(ln.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			if r.Done != 0 || r.Failed != w.done || !strings.Contains(r.Error, "refused") {
				t.Errorf("%d done, %d failed (%s), want %d failed", r.Done, r.Failed, r.Error, w.done)
			}
		})
	}
}

// TestCancelled ends with its context while a server that never answers is
// waited for.
func TestCancelled(t *testing.T) {
	ln := listen(t)
	accepted := make(chan struct{}, 1000)
	defer serving.Start(ln, func(c net.Conn) {
		accepted <- struct{}{}
		io.Copy(io.Discard, c)
	})()
	for name, w := range workloads() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-accepted; cancel() }()
			r, err := w.Run(ctx, dialerTo(ln.Addr()))
			cancel()
			if err == nil && r.Done > 0 {
				t.Errorf("%d done without an answer", r.Done)
			}
			for len(accepted) > 0 {
				<-accepted
			}
		})
	}
}

// TestBytesAreChecked flips one byte on the way, in either direction.
func TestBytesAreChecked(t *testing.T) {
	dial := startServer(t)
	for _, down := range []bool{false, true} {
		var count atomic.Int64
		flipping := func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			return &flipper{Conn: c, down: down, count: &count}, err
		}
		r, err := Clients{Clients: 1, Each: 1, Request: Fixed(20e3), Answer: Fixed(20e3), Patience: 5 * time.Second}.Run(t.Context(), flipping)
		if err != nil {
			t.Fatal(err)
		}
		if r.Done != 0 || r.Failed != 1 {
			t.Errorf("down %t: %d done, %d failed", down, r.Done, r.Failed)
		}
		if down && r.Error != ErrOtherBytes.Error() {
			t.Errorf("failed for %q", r.Error)
		}
	}
}

// flipper changes byte 15,000 of a direction.
type flipper struct {
	net.Conn
	down  bool
	count *atomic.Int64
}

func (f *flipper) flip(b []byte) []byte {
	at := 15_000 - f.count.Load()
	f.count.Add(int64(len(b)))
	if at >= 0 && at < int64(len(b)) {
		b = slices.Clone(b)
		b[at] ^= 1
	}
	return b
}

func (f *flipper) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.down {
		copy(b, f.flip(b[:n]))
	}
	return n, err
}

func (f *flipper) Write(b []byte) (int, error) {
	if !f.down {
		b = f.flip(b)
	}
	return f.Conn.Write(b)
}

// TestStallShowsInAllItDelays is about coordinated omission: a server that
// stands still once delays everything that was due meanwhile.
func TestStallShowsInAllItDelays(t *testing.T) {
	const stall = 300 * time.Millisecond
	dial := startServer(t)
	stalling := func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return &staller{Conn: c, stall: stall}, err
	}
	r, err := Exchanges{PerSecond: 200, Count: 100, Connections: 1, Request: Fixed(100), Answer: Fixed(100)}.Run(t.Context(), stalling)
	if err != nil {
		t.Fatal(err)
	}
	if r.Done != 100 {
		t.Fatalf("%d done: %s", r.Done, r.Error)
	}
	// In a closed loop one exchange of 100 would see the stall. Here it hits
	// all that were due in its course, about 60, the later ones less.
	if slow := r.Latency.Percentile(60); slow < stall/20 {
		t.Errorf("40 %% took no longer than %v", slow)
	}
	if r.Latency.Max() < stall/2 {
		t.Errorf("the longest took %v, after a stall of %v", r.Latency.Max(), stall)
	}
}

// staller stands still before its fifth read.
type staller struct {
	net.Conn
	stall time.Duration
	reads int
}

func (s *staller) Read(b []byte) (int, error) {
	if s.reads++; s.reads == 5 {
		time.Sleep(s.stall)
	}
	return s.Conn.Read(b)
}

// TestPlansRepeat draws everything twice.
func TestPlansRepeat(t *testing.T) {
	plan := func(seed uint64) string {
		e, err := Exchanges{Seed: seed, PerSecond: 100, Count: 50, Connections: 2, Request: Range{50, 500}, Answer: Range{1, 5000}}.plan()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, a := range append(e.actions, Typing{Seed: seed, Keys: 50}.plan().actions...) {
			text.WriteString(a.at.String())
			text.Write(a.ask.appendTo(nil))
		}
		pages, err := json.Marshal(NewPages(seed, 3))
		if err != nil {
			t.Fatal(err)
		}
		return text.String() + string(pages)
	}
	first := plan(1)
	if again := plan(1); again != first {
		t.Error("the same seed gives two plans")
	}
	if plan(2) == first {
		t.Error("two seeds give the same plan")
	}
}

// TestArrivals compares with a Poisson process.
func TestArrivals(t *testing.T) {
	const n = 20_000
	s, err := Exchanges{PerSecond: 100, Count: n, Request: Fixed(24), Answer: Fixed(1)}.plan()
	if err != nil {
		t.Fatal(err)
	}
	// The standard deviation of the sum of n times of mean 10 ms is 10 ms √n.
	if end := s.actions[n-1].at.Seconds(); end < 200-4*1.42 || end > 200+4*1.42 {
		t.Errorf("%d arrivals take %.1f s, want 200", n, end)
	}
	short := 0 // e^-1 of the times are above the mean
	for i := 1; i < n; i++ {
		if s.actions[i].at-s.actions[i-1].at < 10*time.Millisecond {
			short++
		}
	}
	if share := float64(short) / n; share < 0.61 || share > 0.655 {
		t.Errorf("%.3f of the times are below their mean, want 0.632", share)
	}
}

func TestRefusesNonsense(t *testing.T) {
	never := func(context.Context) (net.Conn, error) { t.Error("dialled"); return nil, io.EOF }
	for _, w := range []Workload{
		Exchanges{Count: 1, Request: Fixed(100), Answer: Fixed(1)},
		Beside{Workloads: []Workload{Bulk{Streams: 1}}},
		Exchanges{PerSecond: 1, Count: 1, Request: Fixed(10), Answer: Fixed(1)},
		Exchanges{PerSecond: 1, Count: 1, Request: Fixed(100), Answer: Range{5, 4}},
		Clients{Clients: 1, Each: 1, Request: Fixed(100)},
		Bulk{Streams: 1},
		Thin{Up: true, Size: 1, Count: 1},
		Thin{Size: 1, Count: 1},
		Voice{Segment: Range{1, 2}},
		Browse{Pages: []Page{{}}},
		Browse{Pages: []Page{{Objects: []Object{{Size: 1, Of: -1}, {Size: 1, Of: 1}}}}},
		Browse{Pages: []Page{{Objects: []Object{{Size: 1, Of: -1}, {Size: 1, Early: 2}}}}},
	} {
		if _, err := w.Run(t.Context(), never); err == nil {
			t.Errorf("%#v runs", w)
		}
	}
}

func FuzzParseAsk(f *testing.F) {
	for _, a := range []ask{
		{kind: exchange, request: 24, answer: 1},
		{kind: stamp, request: 400, pause: time.Second},
		{kind: stream, request: 100, answer: 10, pause: 20 * time.Millisecond},
	} {
		f.Add(a.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < askSize {
			return
		}
		a, err := parseAsk((*[askSize]byte)(b))
		if err != nil {
			return
		}
		if again, err := parseAsk((*[askSize]byte)(a.appendTo(nil))); err != nil || again != a {
			t.Errorf("%+v becomes %+v, %v", a, again, err)
		}
		if a.request > maxBytes || a.answer > maxBytes || a.kind == stream && a.request > maxMessage {
			t.Errorf("%+v is accepted", a)
		}
	})
}
