// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/subscribers"
)

func set(t testing.TB, text string) options.Set {
	t.Helper()
	s, err := options.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tuner keeps what it is told to apply, and cannot do round-robin.
type tuner struct {
	server  *Server
	mu      sync.Mutex
	applied map[uint32]options.Set
	times   int // that something was to be applied
}

func (u *tuner) Supports(s options.Set) (list []options.Reason) {
	if v, ok := s.Value(options.Scheduler); ok && v.Schedule().Mode == options.ModeRoundRobin {
		list = append(list, options.Reason{Option: options.Scheduler, Err: errors.New("too old")})
	}
	return list
}

func (u *tuner) Apply(token uint32, s options.Set, done func([]options.Reason)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.applied == nil {
		u.applied = map[uint32]options.Set{}
	}
	u.applied[token] = s
	u.times++
	go done(nil)
}

// Ask has everything granted at once.
func (u *tuner) Ask(token uint32, s options.Set) {
	for o, v := range s.All() {
		u.server.Answered(token, o, v)
	}
}

func (u *tuner) of(token uint32) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.applied[token].String()
}

// asking is a SOCKS5 listener whose clients may ask for options.
func asking(t testing.TB) *Listener {
	l := socksListener(socks.Config{AnyUser: true})
	l.Options = options.Policy{
		Accept: []options.Source{options.FromSOCKS, options.FromConvert, options.FromTCPOption},
		Caps:   options.Caps{Max: set(t, "subflow-rate-limit=20Mbit"), Forbid: []options.Option{options.DelayedACK}},
	}
	return l
}

// chooseOne has the operator choose options of one connection.
func chooseOne(t testing.TB, p *proxied, id uint64, set options.Set, clear ...options.Option) (*options.Grants, error) {
	t.Helper()
	all, err := p.Choose(t.Context(), []uint64{id}, set, clear)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || all[0].ID != id {
		t.Fatalf("asked for %d: %+v", id, all)
	}
	return all[0].Options, all[0].Err
}

// askFor makes a SOCKS5 request that asks for options.
func askFor(t testing.TB, proxy, target netip.AddrPort, mode mptcp.Mode, text string) *mptcp.Conn {
	t.Helper()
	c := dialProxy(t, proxy, mode)
	name := ";" + text
	send(t, c, []byte("\x05\x01\x02\x01"+string(rune(len(name)))+name+"\x01-"+request(socks.Connect, target)))
	expect(t, c, "\x05\x02\x01\x00")
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	return c
}

// say sends words and waits for their echo.
func say(t testing.TB, c net.Conn, words string) {
	t.Helper()
	send(t, c, []byte(words))
	expect(t, c, words)
}

// TestWhoWaitsMayHaveOthersWait has what waits for the Tuner give it something
// else to do.
func TestWhoWaitsMayHaveOthersWait(t *testing.T) {
	s := &session{choices: &choices{pending: 1}}
	var heard []string
	s.whenApplied(func() {
		heard = append(heard, "first")
		s.choices.pending++
		s.whenApplied(func() { heard = append(heard, "second") })
	})
	for want := range 3 {
		if len(heard) != want {
			t.Fatalf("after %d answers: %v", want, heard)
		}
		s.choices.tuned(0, nil)
	}
}

func needMPTCP(t testing.TB) {
	t.Helper()
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
}

func TestOptionsAreGranted(t *testing.T) {
	needMPTCP(t)
	u := new(tuner)
	p := serve(t, Options{Tuner: u}, asking(t))
	c := askFor(t, p.addr, echoServer(t), mptcp.ModeRequire,
		"scheduler=primary;subflow-rate-limit=40Mbit;delayed-ack=2;x=y")
	say(t, c, "words")
	l := p.single("the tunnel", phaseIs("relaying"))
	want := "scheduler=primary (as asked, by socks); " +
		"subflow-rate-limit=20Mbit (asked 40Mbit, capped, by socks: at most 20Mbit); " +
		"delayed-ack=default (asked 2, forbidden, by kernel: forbidden by the operator); "
	if got := l.Options.String(); !strings.HasPrefix(got, want) || len(l.Options.Bad) != 1 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := u.of(l.ClientMPTCP.Token), "scheduler=primary;subflow-rate-limit=20Mbit"; got != want {
		t.Errorf("applied %q, want %q", got, want)
	}
	if n := p.log.count(slog.LevelInfo, "options of a connection"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s := p.Stats().Listeners["test"]
	counted := OptionStats{options.Scheduler: {options.AsAsked: 1}, options.SubflowRateLimit: {options.Capped: 1}, options.DelayedACK: {options.Forbidden: 1}}
	counted[0][options.Unknown] = 1
	if s.OptionsAsked != 1 || s.Options != counted {
		t.Errorf("counted %+v", s)
	}
	c.Close()
	if r := p.records.wait(t, 1); r[0].Options == nil || r[0].User != "" {
		t.Errorf("record %+v", r[0])
	}
}

func TestUnsupportedOptions(t *testing.T) {
	needMPTCP(t)
	for _, c := range []struct {
		name  string
		tuner Tuner
		mode  mptcp.Mode
		want  string
	}{
		{"no tuner", nil, mptcp.ModeRequire, "scheduler=default (asked round-robin, unsupported, by socks: " + errNoTuner.Error() + ")"},
		{"kernel cannot", new(tuner), mptcp.ModeRequire, "scheduler=default (asked round-robin, unsupported, by socks: too old)"},
		{"no MPTCP", new(tuner), mptcp.ModeOff, "scheduler=default (asked primary, unsupported, by socks: " + errNoMPTCP.Error() + ")"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := serve(t, Options{Tuner: c.tuner}, asking(t))
			text := "scheduler=round-robin"
			if c.mode == mptcp.ModeOff {
				text = "scheduler=primary"
			}
			askFor(t, p.addr, echoServer(t), c.mode, text)
			l := p.single("the tunnel", phaseIs("relaying"))
			if got := l.Options.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestCongestionControlBySocketOption(t *testing.T) {
	p := serve(t, Options{}, asking(t))
	askFor(t, p.addr, echoServer(t), mptcp.ModeOff, "congestion-control=reno")
	l := p.single("the tunnel", phaseIs("relaying"))
	control := func() (name string) {
		for i := range p.workers {
			for range p.walk(i, func(x *session) {
				name, _ = unix.GetsockoptString(x.pair.Ends[0].FD, unix.SOL_TCP, unix.TCP_CONGESTION)
			}) {
			}
		}
		return name
	}
	if got := control(); got != "reno" {
		t.Errorf("congestion control %s; %s", got, l.Options)
	}
	g, err := chooseOne(t, p, l.ID, set(t, "congestion-control=dctcp"))
	if err != nil {
		t.Fatal(err)
	}
	if got := g.String(); control() != "reno" && control() != "dctcp" || !strings.Contains(got, "operator") {
		t.Errorf("congestion control %s; %s", control(), got)
	}
}

func TestOperatorChooses(t *testing.T) {
	needMPTCP(t)
	u := new(tuner)
	p := serve(t, Options{Tuner: u}, asking(t))
	c := askFor(t, p.addr, echoServer(t), mptcp.ModeRequire, "scheduler=primary")
	l := p.single("the tunnel", phaseIs("relaying"))
	choose := func(text, want string, clear ...options.Option) {
		t.Helper()
		g, err := chooseOne(t, p, l.ID, set(t, text), clear...)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.of(l.ClientMPTCP.Token); got != want || g.Granted().Effective().Without(options.InactivityTimeout).String() != want {
			t.Errorf("%q: applied %q, granted %s; want %q", text, got, g, want)
		}
	}
	choose("scheduler=server;inactivity-timeout=720h", "scheduler=server")
	choose("subflow-rate-limit=2:100Mbit", "scheduler=server;subflow-rate-limit=2:100Mbit")
	choose("", "scheduler=primary;subflow-rate-limit=2:100Mbit", options.Scheduler)
	choose("scheduler=default", "", options.SubflowRateLimit)
	say(t, c, "words")
	if _, err := chooseOne(t, p, l.ID, set(t, "subflow-rate-limit=1kbit")); !errors.Is(err, options.ErrRange) {
		t.Errorf("a rate that stalls: %v", err)
	}
	if _, err := chooseOne(t, p, l.ID+1, options.Set{}); !errors.Is(err, ErrNoConnection) {
		t.Errorf("no connection: %v", err)
	}

	// What comes in a TCP option later.
	answers := make(chan options.Set, 1)
	p.Ask(l.ClientMPTCP.Token, options.Request{From: options.FromTCPOption, Set: set(t, "delay-threshold=20ms")},
		func(s options.Set) { answers <- s })
	if got := <-answers; got != set(t, "delay-threshold=20ms") {
		t.Errorf("answered %q", got)
	}
	if got := u.of(l.ClientMPTCP.Token); got != "delay-threshold=20ms" {
		t.Errorf("applied %q", got)
	}
}

// What comes in TCP options reaches the Tuner only if it changes something, and
// not too often.
func TestLaterRequests(t *testing.T) {
	needMPTCP(t)
	u := new(tuner)
	p := serve(t, Options{Tuner: u}, asking(t))
	askFor(t, p.addr, echoServer(t), mptcp.ModeRequire, "scheduler=primary")
	l := p.single("the tunnel", phaseIs("relaying"))
	ask := func(r options.Request) {
		t.Helper()
		r.From = options.FromTCPOption
		answers := make(chan options.Set, 1)
		p.Ask(l.ClientMPTCP.Token, r, func(s options.Set) { answers <- s })
		if got := <-answers; got != r.Set {
			t.Errorf("answered %q, want %q", got, r.Set)
		}
	}
	times := func() int {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.times
	}
	bad := options.Request{From: options.FromTCPOption, Bad: []options.Bad{{Text: "type 99", Why: options.Unknown}}}
	threshold := options.Request{Set: set(t, "delay-threshold=20ms")}
	before := times()
	ask(threshold)
	ask(threshold)
	ask(bad)
	if n := times() - before; n != 1 {
		t.Errorf("applied %d times", n)
	}
	// Nobody waits for answers that do not come.
	const flood = 1000
	for i := range flood {
		p.Ask(l.ClientMPTCP.Token, options.Request{From: options.FromTCPOption, Set: set(t, []string{"delay-threshold=30ms", "delay-threshold=40ms"}[i%2])}, func(options.Set) {})
		p.Ask(l.ClientMPTCP.Token, bad, func(options.Set) {})
	}
	var s OptionStats
	await(t, "all to be counted", func() bool {
		s = p.Stats().Options
		// Mistakes that there was no room to keep are counted as malformed.
		return s[0][options.Unknown]+s[0][options.Malformed]+s[0][options.TooOften] == flood+1
	})
	if n := times() - before; n > flood/2 || s[options.DelayThreshold][options.TooOften] < flood/2 {
		t.Errorf("counted %v", s)
	}
	l = p.single("the tunnel", phaseIs("relaying"))
	if len(l.Options.Bad) != options.MaxBad || uint64(l.Options.More)+options.MaxBad != flood+1-s[0][options.TooOften] {
		t.Errorf("%d mistakes and %d more: %v", len(l.Options.Bad), l.Options.More, s[0])
	}
	if n := p.log.count(slog.LevelInfo, "options of a connection"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	p.Ask(l.ClientMPTCP.Token+1, threshold, func(options.Set) { t.Error("an answer to nobody") })
	if s := p.Stats(); s.Listeners["test"].OptionsAsked != 1 {
		t.Errorf("%d connections have asked", s.Listeners["test"].OptionsAsked)
	}
}

func TestInactivityTimeout(t *testing.T) {
	p := serve(t, Options{}, asking(t))
	c := askFor(t, p.addr, echoServer(t), mptcp.ModePrefer, "inactivity-timeout=1s")
	expectEnd(t, c)
	p.quiescent()

	c = askFor(t, p.addr, echoServer(t), mptcp.ModePrefer, "scheduler=default")
	l := p.single("the tunnel", phaseIs("relaying"))
	if _, err := chooseOne(t, p, l.ID, set(t, "inactivity-timeout=1s")); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c)
	p.quiescent()
}

// CPE and aggregator: the CPE asks, the aggregator grants with a cap, and both
// know.
func TestOptionsByConvert(t *testing.T) {
	needMPTCP(t)
	u := new(tuner)
	back := convertListener(converter.ServerConfig{Choices: true})
	back.Options = asking(t).Options
	aggregator := serve(t, Options{Tuner: u}, back)
	hop := NewConvertHop(ConvertHopOptions{
		Name: "agg", Addresses: []netip.AddrPort{aggregator.addr},
		Connect: mptcp.ConnectOptions{Mode: mptcp.ModeRequire},
		Dialer:  converter.DialerConfig{AllowLoopback: true},
		Ask:     set(t, "scheduler=primary;subflow-rate-limit=40Mbit;delayed-ack=2"),
	})
	cpe := serve(t, Options{}, through(only{hop}))
	c, code := ask(t, cpe.addr, echoServer(t))
	if code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	say(t, c, "words")
	granted := set(t, "scheduler=primary;subflow-rate-limit=20Mbit")
	l := cpe.single("the tunnel", phaseIs("relaying"))
	if l.HopChoice == nil || !l.HopChoice.Answered || l.HopChoice.Granted != granted || l.HopChoice.Asked != hop.ask {
		t.Errorf("the CPE knows %+v", l.HopChoice)
	}
	l = aggregator.single("the tunnel", phaseIs("relaying"))
	if got := l.Options.ToClient(); got != granted || u.of(l.ClientMPTCP.Token) != granted.String() {
		t.Errorf("the aggregator grants %q and applies %q", got, u.of(l.ClientMPTCP.Token))
	}
}

// A SOCKS5 upstream is asked behind the user name.
func TestOptionsBySOCKSHop(t *testing.T) {
	next := serve(t, Options{}, asking(t))
	hop := NewSOCKSHop("next", []netip.AddrPort{next.addr}, mptcp.ConnectOptions{}, socks.Client{Eager: true}, set(t, "inactivity-timeout=1m"))
	first := serve(t, Options{}, through(only{hop}))
	c, code := ask(t, first.addr, echoServer(t))
	if code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	say(t, c, "words")
	l := next.single("the tunnel", phaseIs("relaying"))
	if got := l.Options.Granted().String(); got != "inactivity-timeout=1m" {
		t.Errorf("granted %q", got)
	}
	if l := first.single("the tunnel", phaseIs("relaying")); l.HopChoice == nil || l.HopChoice.Answered {
		t.Errorf("the first knows %+v", l.HopChoice)
	}
}

func TestSubscriberOptions(t *testing.T) {
	l := asking(t)
	l.Options.Accept = nil
	l.Subscribers = registry(t, subscribers.Policy{Options: set(t, "inactivity-timeout=5m")}, subscribers.Options{})
	server := echoServer(t)
	p := serve(t, Options{}, l)
	askFor(t, p.addr, server, mptcp.ModeOff, "inactivity-timeout=1h")
	live := p.single("the tunnel", phaseIs("relaying"))
	want := "inactivity-timeout=5m (asked 1h, forbidden, by subscriber: this listener takes no options by socks)"
	if got := live.Options.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
