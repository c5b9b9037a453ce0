// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func TestHealth(t *testing.T) {
	const rise, fall = 2, 3
	start := time.Unix(1e9, 0)
	for name, test := range map[string]struct{ heard, up string }{
		// s a success, f a failure, F a final one, w a long while; + up, - down.
		"steady":                            {"ssss", "++++"},
		"a few failures":                    {"ffsffs", "++++++"},
		"down and up":                       {"fffss", "++--+"},
		"successes in a row":                {"fffsfsfss", "++------+"},
		"final":                             {"Fss", "--+"},
		"twice as long each time":           {"FssFssssFssssssss", "--+----+--------+"},
		"and forgotten when it stays":       {"FssFsssswsFss", "--+----+++--+"},
		"failures while down change little": {"Fffffss", "------+"},
	} {
		h, now, got := health{rise: rise, fall: fall, up: true, since: start}, start, ""
		for _, what := range test.heard {
			now = now.Add(time.Second)
			was := h.up
			if what == 'w' {
				now = now.Add(calm)
			} else if changed := h.note(what == 's', what == 'F', now); changed != (h.up != was) || changed && h.since != now {
				t.Errorf("%s: changed %v, %+v", name, changed, h)
			}
			got += map[bool]string{true: "+", false: "-"}[h.up]
		}
		if got != test.up {
			t.Errorf("%s: %s\ngot  %s\nwant %s", name, test.heard, got, test.up)
		}
	}
	h := health{rise: 1, fall: 1, up: true, since: start}
	for range 100 {
		h.note(false, false, start)
		for n := 0; !h.up; n++ {
			if n > maxPatience {
				t.Fatal("a hop that comes and goes is lost for ever")
			}
			h.note(true, false, start)
		}
	}
}

// running is a pool under test, with a SOCKS5 listener in front.
type running struct {
	*Pool
	proxy *proxied
	log   *logged
}

func runPool(t *testing.T, o PoolOptions) *running {
	t.Helper()
	r := &running{log: &logged{}}
	o.Log = slog.New(r.log)
	o.Interval, o.Timeout = 10*time.Millisecond, patience
	r.Pool = NewPool(o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	r.proxy = serve(t, Options{}, through(r.Pool))
	return r
}

// goes makes a connection and says by which hop it went.
func (r *running) goes(t *testing.T, target netip.AddrPort) (hop string, code socks.Code) {
	t.Helper()
	n := len(r.proxy.records.wait(t, 0))
	c, code := ask(t, r.proxy.addr, target)
	if code == socks.Succeeded {
		exchange(t, c, "words")
	} else {
		expectEnd(t, c)
		c.Close()
	}
	return r.proxy.records.wait(t, n+1)[n].Hop, code
}

func (r *running) awaitUp(t *testing.T, want ...bool) {
	t.Helper()
	await(t, "the hops to change", func() bool {
		for i, s := range r.Status() {
			if s.Up != want[i] {
				return false
			}
		}
		return true
	})
}

// aggregator is a converter that can be switched off and on.
type aggregator struct {
	*proxied
	listener *Listener
}

func newAggregator(t *testing.T) *aggregator {
	a := &aggregator{listener: convertListener(converter.ServerConfig{})}
	a.proxied = serve(t, Options{}, a.listener)
	a.listener.Addresses = []netip.AddrPort{a.addr}
	return a
}

func (a *aggregator) off(t *testing.T) {
	t.Helper()
	if _, err := a.Apply(nil); err != nil {
		t.Fatal(err)
	}
}

func TestPoolFailsOverAndBack(t *testing.T) {
	server := echoServer(t)
	direct := NewDirect("direct", mptcp.ConnectOptions{}, Source{}, false)
	for _, last := range []Hop{nil, direct} {
		name := "refuse"
		if last != nil {
			name = "direct"
		}
		t.Run(name, func(t *testing.T) {
			first, second := newAggregator(t), newAggregator(t)
			r := runPool(t, PoolOptions{Last: last, Hops: []Checked{
				toConverter("first", first.addr, mptcp.ModeRequire), toConverter("second", second.addr, mptcp.ModeRequire),
			}})
			goes := func(want string, wantCode socks.Code) {
				t.Helper()
				if hop, code := r.goes(t, server); code != wantCode || hop != want {
					t.Errorf("went by %q: %q, want %q", hop, code, want)
				}
			}
			goes("first", socks.Succeeded)
			first.off(t)
			// Nobody has to wait for the pool to find out.
			goes("second", socks.Succeeded)
			r.awaitUp(t, false, true)
			goes("second", socks.Succeeded)
			second.off(t)
			r.awaitUp(t, false, false)
			if last == nil {
				goes("", socks.GeneralFailure)
			} else {
				goes("direct", socks.Succeeded)
			}
			second.apply(second.listener)
			r.awaitUp(t, false, true)
			goes("second", socks.Succeeded)
			first.apply(first.listener)
			r.awaitUp(t, true, true)
			goes("first", socks.Succeeded)

			for _, s := range r.Status() {
				if s.Err == nil || s.Checked.IsZero() || s.Took <= 0 || s.Failures != 0 {
					t.Errorf("status %+v", s)
				}
			}
			// Each change is told once.
			none := map[string]int{"refuse": 1}
			for message, want := range map[string]int{
				"no hop is up: clients are refused":          none[name],
				"no hop is up: clients take the last resort": 1 - none[name],
			} {
				if got := r.log.count(slog.LevelError, message); got != want {
					t.Errorf("%q logged %d times", message, got)
				}
			}
			if down, up := r.log.count(slog.LevelWarn, "hop is down"), r.log.count(slog.LevelInfo, "hop is up again"); down != 2 || up != 2 {
				t.Errorf("%d times down, %d times up", down, up)
			}
		})
	}
}

// A hop of any kind, with whichever behind it.
func TestPoolOfProxies(t *testing.T) {
	server := echoServer(t)
	next := serve(t, Options{}, socksListener(socks.Config{}))
	r := runPool(t, PoolOptions{Hops: []Checked{
		toSOCKS(echoServerGone(t), mptcp.ModeOff, socks.Client{}), toSOCKS(next.addr, mptcp.ModeOff, socks.Client{}),
	}})
	r.awaitUp(t, false, true)
	if hop, code := r.goes(t, server); code != socks.Succeeded || hop != "next" {
		t.Errorf("went by %q: %q", hop, code)
	}
}

// An aggregator that says that it is full is not asked again for a while, not
// even whether it still is.
func TestPoolKeepsAway(t *testing.T) {
	server := echoServer(t)
	full := serve(t, Options{Limiter: limiter(t, policy.LimitsConfig{Total: 1})}, convertListener(converter.ServerConfig{}))
	dialProxy(t, full.addr, mptcp.ModeOff)
	await(t, "the aggregator to be full", func() bool { return full.Stats().Active == 1 })
	spare := newAggregator(t)
	r := runPool(t, PoolOptions{Hops: []Checked{
		toConverter("full", full.addr, mptcp.ModePrefer), toConverter("spare", spare.addr, mptcp.ModePrefer),
	}})
	if hop, code := r.goes(t, server); code != socks.Succeeded || hop != "spare" {
		t.Errorf("went by %q: %q", hop, code)
	}
	r.awaitUp(t, false, true)
	asked := full.Stats().Accepted
	failures := r.Status()[0].Failures
	await(t, "some checks", func() bool { return r.Status()[0].Failures >= failures+3 })
	if now := full.Stats().Accepted; now != asked {
		t.Errorf("asked %d times more", now-asked)
	}
	if err := r.Status()[0].Err; !errors.Is(err, converter.ErrUnavailable) {
		t.Errorf("failure %v", err)
	}
}

// scripted is a hop whose checks end as told.
type scripted struct {
	Hop
	err    atomic.Pointer[error]
	checks atomic.Int64
}

func (s *scripted) Check(context.Context) error {
	s.checks.Add(1)
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Clients' connections count: failures take a hop down, others' do not, and
// what is down comes up by checks only.
func TestPoolHearsOfClients(t *testing.T) {
	hop := &scripted{Hop: NewDirect("hop", mptcp.ConnectOptions{}, Source{}, false)}
	p := NewPool(PoolOptions{Hops: []Checked{hop}, Log: slog.New(&logged{})})
	failure := HopError(errors.New("no answer"))
	report := func(err error) {
		if hops := p.Hops(nil); len(hops) == 1 {
			hops[0].Report(nil, mptcp.Status{}, err)
		}
	}
	member := p.Hops(nil)[0]
	report(failure)
	report(failure)
	report(errors.New("of the server"))
	report(failure)
	report(failure)
	report(nil)
	if len(p.Hops(nil)) != 1 || p.Status()[0].Failures != 0 {
		t.Fatalf("status %+v", p.Status())
	}
	for range 3 {
		report(failure)
	}
	if len(p.Hops(nil)) != 0 || p.Status()[0].Up {
		t.Fatalf("status %+v", p.Status())
	}
	for range 10 {
		member.Report(nil, mptcp.Status{}, nil) // those that had begun before
	}
	if p.Status()[0].Up {
		t.Error("came up without a check")
	}
}

// A failure of a client's connection is reason to look at once.
func TestPoolChecksOnFailure(t *testing.T) {
	hop := &scripted{Hop: NewDirect("hop", mptcp.ConnectOptions{}, Source{}, false)}
	p := NewPool(PoolOptions{Hops: []Checked{hop}, Interval: time.Hour, Log: slog.New(&logged{})})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	await(t, "the first check", func() bool { return hop.checks.Load() == 1 })
	down := errors.New("down")
	hop.err.Store(&down)
	member := p.Hops(nil)[0]
	member.Report(nil, mptcp.Status{}, HopError(errors.New("no answer")))
	await(t, "a check", func() bool { return hop.checks.Load() == 2 })
	await(t, "its outcome", func() bool { return p.Status()[0].Failures == 2 })
}

func TestPoolUnderConcurrentReports(t *testing.T) {
	hops := []Checked{}
	for range 3 {
		hops = append(hops, &scripted{Hop: NewDirect("hop", mptcp.ConnectOptions{}, Source{}, false)})
	}
	p := NewPool(PoolOptions{Hops: hops, Interval: time.Microsecond, Log: slog.New(&logged{})})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for j := range 2000 {
				for _, h := range p.Hops(nil) {
					var err error
					if (i+j)%3 != 0 {
						err = HopError(errors.New("no answer"))
					}
					h.Report(nil, mptcp.Status{}, err)
				}
				p.Status()
			}
		})
	}
	clients.Wait()
	await(t, "all to be up", func() bool { return len(p.Hops(nil)) == 3 })
	cancel()
	wg.Wait()
}
