// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func limiterOf(t testing.TB, c LimitsConfig) *Limiter {
	t.Helper()
	l, err := NewLimiter(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// refusedFor says why an address is not let in; ok: it is.
func refusedFor(l *Limiter, addr string, now time.Time) (Ticket, string) {
	t, err := l.Admit(netip.MustParseAddr(addr), now)
	var refused *Refused
	switch {
	case err == nil:
		return t, "ok"
	case errors.As(err, &refused) && errors.Is(err, ErrRefused):
		return t, refused.Reason.String()
	}
	return t, err.Error()
}

func TestLimiter(t *testing.T) {
	const same, other = "192.0.2.1", "192.0.2.2"
	type step struct {
		addr    string
		after   time.Duration // since the step before
		release int           // first release the ticket of this step, from 1
		settle  int           // first establish the ticket of this step, from 1
		want    string
	}
	for _, test := range []struct {
		name   string
		limits LimitsConfig
		steps  []step
	}{
		{"none", LimitsConfig{}, []step{{addr: same, want: "ok"}, {addr: same, want: "ok"}}},
		{"total", LimitsConfig{Total: 2}, []step{
			{addr: same, want: "ok"}, {addr: other, want: "ok"}, {addr: "2001:db8::1", want: "total"}, {addr: other, release: 1, want: "ok"}, {addr: same, want: "total"},
		}},
		{"per source", LimitsConfig{PerSource: 1}, []step{
			{addr: same, want: "ok"}, {addr: same, want: "per-source"}, {addr: "::ffff:" + same, want: "per-source"}, {addr: other, want: "ok"}, {addr: same, release: 1, want: "ok"},
		}},
		{"per source prefix", LimitsConfig{PerSource: 1, IPv4Bits: 23, IPv6Bits: 60}, []step{
			{addr: "192.0.2.1", want: "ok"}, {addr: "192.0.3.255", want: "per-source"}, {addr: "192.0.4.1", want: "ok"},
			{addr: "2001:db8:0:f::1", want: "ok"}, {addr: "2001:db8::2", want: "per-source"}, {addr: "2001:db8:0:10::1", want: "ok"},
		}},
		{"IPv6 by default", LimitsConfig{PerSource: 1}, []step{
			{addr: "2001:db8:0:00ff::1", want: "ok"}, {addr: "2001:db8::1", want: "per-source"}, {addr: "2001:db8:0:100::1", want: "ok"},
		}},
		{"pending", LimitsConfig{Pending: 1}, []step{
			{addr: same, want: "ok"}, {addr: same, want: "pending"}, {addr: same, settle: 1, want: "ok"}, {addr: same, want: "pending"}, {addr: same, release: 3, want: "ok"},
		}},
		{"rate", LimitsConfig{Rate: 2, Burst: 3}, []step{
			{addr: same, want: "ok"}, {addr: same, want: "ok"}, {addr: same, want: "ok"}, {addr: same, want: "rate"}, {addr: other, want: "ok"},
			{addr: same, after: 499 * time.Millisecond, want: "rate"}, {addr: same, after: time.Millisecond, want: "ok"}, {addr: same, want: "rate"},
			{addr: same, after: time.Hour, want: "ok"}, {addr: same, want: "ok"}, {addr: same, want: "ok"}, {addr: same, want: "rate"},
		}},
		{"a refusal takes nothing from the rate", LimitsConfig{Rate: 1, Burst: 2, PerSource: 1}, []step{
			{addr: same, want: "ok"}, {addr: same, want: "per-source"}, {addr: same, want: "per-source"}, {addr: same, release: 1, want: "ok"},
		}},
		{"the clock of a slower loop", LimitsConfig{Rate: 1, Burst: 1}, []step{
			{addr: same, want: "ok"}, {addr: same, after: -time.Second, want: "rate"}, {addr: same, after: 2 * time.Second, want: "ok"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, now := limiterOf(t, test.limits), time.Now()
			tickets := make([]Ticket, len(test.steps))
			for i, s := range test.steps {
				now = now.Add(s.after)
				if s.release > 0 {
					tickets[s.release-1].Release()
					tickets[s.release-1].Release() // once more does nothing
				}
				if s.settle > 0 {
					tickets[s.settle-1].Established()
					tickets[s.settle-1].Established()
				}
				var got string
				if tickets[i], got = refusedFor(l, s.addr, now); got != s.want {
					t.Fatalf("step %d: %s, want %s", i+1, got, s.want)
				}
			}
			for i := range tickets {
				tickets[i].Release()
			}
			if n := l.Stats().Connections; n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// Whatever comes and goes, nobody exceeds a limit, nobody is refused below it,
// and in the end all places are free.
func TestLimiterKeepsCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := LimitsConfig{
			Total:     rapid.IntRange(0, 12).Draw(t, "total"),
			PerSource: rapid.IntRange(0, 5).Draw(t, "per source"),
			Pending:   rapid.IntRange(0, 3).Draw(t, "pending"),
		}
		l, err := NewLimiter(limits)
		if err != nil {
			t.Fatal(err)
		}
		type conn struct {
			ticket  Ticket
			source  byte
			settled bool
		}
		var open []*conn
		full := func(limit, n int) bool { return limit > 0 && n >= limit }
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 3).Draw(t, "what"); {
			case what < 2 || len(open) == 0:
				c := &conn{source: rapid.ByteRange(1, 4).Draw(t, "source")}
				all, mine, pending := len(open), 0, 0
				for _, o := range open {
					if o.source == c.source {
						mine++
						if !o.settled {
							pending++
						}
					}
				}
				addr := netip.AddrFrom4([4]byte{192, 0, 2, c.source})
				use, would := l.Would(addr, time.Now())
				c.ticket, err = l.Admit(addr, time.Now())
				if !errors.Is(would, err) || use.Connections != all {
					t.Fatalf("Would says %v (%+v), Admit %v", would, use, err)
				}
				if use.Prefix.IsValid() && err == nil && (use.FromPrefix != mine || use.Pending != pending) {
					t.Fatalf("%+v, want %d and %d pending", use, mine, pending)
				}
				want := full(limits.Total, all) || full(limits.PerSource, mine) || full(limits.Pending, pending)
				if (err != nil) != want {
					t.Fatalf("%d in all, %d of the source, %d pending: %v", all, mine, pending, err)
				}
				if err == nil {
					open = append(open, c)
				}
			case what == 2:
				c := open[rapid.IntRange(0, len(open)-1).Draw(t, "which")]
				c.ticket.Established()
				c.settled = true
			default:
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				open[i].ticket.Release()
				open = append(open[:i], open[i+1:]...)
			}
			if got := l.Stats().Connections; got != len(open) {
				t.Fatalf("%d connections, want %d", got, len(open))
			}
		}
	})
}

// Sources without connections are forgotten before there are too many.
func TestLimiterMemoryIsBounded(t *testing.T) {
	const most = 64
	l, now := limiterOf(t, LimitsConfig{PerSource: 1, MaxPrefixes: most}), time.Now()
	for i := range 10_000 {
		ticket, err := l.Admit(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Release()
	}
	if n := l.Stats().Prefixes; n > most {
		t.Errorf("%d prefixes are remembered, want at most %d", n, most)
	}
	var refused bool
	for i := range 10_000 {
		_, why := refusedFor(l, netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}).String(), now)
		refused = refused || why == Prefixes.String()
	}
	if n := l.Stats().Prefixes; n > most || !refused {
		t.Errorf("%d prefixes with connections, refused: %v", n, refused)
	}
}

func TestLimiterUpdate(t *testing.T) {
	l, now := limiterOf(t, LimitsConfig{PerSource: 2}), time.Now()
	one, _ := refusedFor(l, "192.0.2.1", now)
	two, _ := refusedFor(l, "192.0.2.1", now)
	if err := l.Update(LimitsConfig{PerSource: 1}); err != nil {
		t.Fatal(err)
	}
	one.Release()
	if _, why := refusedFor(l, "192.0.2.1", now); why != "per-source" {
		t.Errorf("an older connection does not count: %s", why)
	}
	two.Release()
	if _, why := refusedFor(l, "192.0.2.1", now); why != "ok" {
		t.Errorf("below the new limit: %s", why)
	}
	if err := l.Update(LimitsConfig{Total: -1}); err == nil {
		t.Error("a negative limit was accepted")
	}
}

func TestLimitsValidate(t *testing.T) {
	for _, c := range []LimitsConfig{
		{Total: -1}, {PerSource: -1}, {Pending: -1}, {Rate: -1}, {Rate: 1e-9}, {Rate: 1e12}, {Burst: 5},
		{Rate: 0.001, Burst: 1_000_000}, {IPv4Bits: 33}, {IPv6Bits: 129}, {MaxPrefixes: -1},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v was accepted", c)
		}
		if _, err := NewLimiter(c); err == nil {
			t.Errorf("a limiter with %+v was made", c)
		}
	}
}

func TestLimiterOfManyLoops(t *testing.T) {
	l, now := limiterOf(t, LimitsConfig{Total: 100, PerSource: 10, Pending: 10, Rate: 1e6, Burst: 1000}), time.Now()
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 2000 {
				ticket, err := l.Admit(netip.AddrFrom4([4]byte{192, 0, byte(g), byte(i)}), now)
				if err != nil {
					continue
				}
				ticket.Established()
				ticket.Release()
			}
		})
	}
	running.Wait()
	if n := l.Stats().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	l, now := limiterOf(b, LimitsConfig{Total: 1000, PerSource: 100, Pending: 10, Rate: 1e6}), time.Now()
	addr := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := l.Admit(addr, now)
		if err != nil {
			now = now.Add(time.Second)
			continue
		}
		ticket.Established()
		ticket.Release()
	}
}
