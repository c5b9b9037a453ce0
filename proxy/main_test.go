// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func TestMain(m *testing.M) {
	if os.Getenv(starvedChild) != "" {
		os.Exit(runStarvedChild())
	}
	relaytest.Limits(4, 8)
	goleak.VerifyTestMain(m)
}

// patience bounds what ought to happen at once.
const patience = 30 * time.Second

// await polls a condition that other goroutines bring about.
func await(t testing.TB, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// proxied is a server under test.
type proxied struct {
	*Server
	t       testing.TB
	addr    netip.AddrPort // of the first listener
	records *recorder
	log     *logged
}

// recorder keeps what it is given.
type recorder struct {
	mu   sync.Mutex
	list []Record
}

func (r *recorder) Record(rec *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, *rec)
}

// wait returns the records once there are n of them.
func (r *recorder) wait(t testing.TB, n int) []Record {
	t.Helper()
	var got []Record
	await(t, "records", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		got = r.list[:len(r.list):len(r.list)]
		return len(got) >= n
	})
	return got
}

// logged is a log handler that keeps the messages.
type logged struct {
	mu    sync.Mutex
	lines []slog.Record
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r)
	return nil
}

// count says how often a message of a level was logged.
func (l *logged) count(level slog.Level, message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.lines {
		if r.Level == level && r.Message == message {
			n++
		}
	}
	return n
}

// serve starts a server with the listeners, which get a loopback address and
// generous timeouts where they have none.
func serve(t testing.TB, o Options, listeners ...*Listener) *proxied {
	t.Helper()
	p := &proxied{t: t, records: &recorder{}, log: &logged{}}
	if o.Recorder == nil {
		o.Recorder = p.records
	}
	o.Log = slog.New(p.log)
	if o.Workers == 0 {
		o.Workers = 2
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	p.Server = s
	t.Cleanup(s.Close)
	if len(listeners) > 0 {
		p.apply(listeners...)
	}
	return p
}

func (p *proxied) apply(listeners ...*Listener) {
	p.t.Helper()
	for _, l := range listeners {
		complete(l)
	}
	bound, err := p.Apply(listeners)
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = bound[0].Address
}

func complete(l *Listener) {
	if l.Name == "" {
		l.Name = "test"
	}
	if l.Addresses == nil {
		l.Addresses = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	if l.Upstream == nil {
		l.Upstream = NewDirect("direct", mptcp.ConnectOptions{}, Source{}, false)
	}
	if l.Timeouts == (Timeouts{}) {
		l.Timeouts = Timeouts{Handshake: patience, Connect: patience, Relay: relay.Timeouts{Idle: time.Minute, HalfClosed: time.Minute}}
	}
}

// quiescent waits until nothing is served and every connection has
// been accounted for, and returns the final numbers.
func (p *proxied) quiescent() (s Stats) {
	p.t.Helper()
	await(p.t, "all connections to end, accounted for", func() bool {
		s = p.Stats()
		ended := s.Relayed
		for _, n := range s.Refused {
			ended += n
		}
		return s.Active == 0 && ended == s.Accepted
	})
	return s
}

func socksListener(c socks.Config) *Listener {
	return &Listener{
		Socket:   mptcp.ListenOptions{Mode: mptcp.ModePrefer},
		FrontEnd: NewSOCKS(socks.NewServer(&c)),
	}
}

// listen serves each connection to a loopback address with handle, in plain
// TCP, until the test ends.
func listen(t testing.TB, address string, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serving.Start(l, func(c net.Conn) { handle(c.(*net.TCPConn)) }))
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// echo sends everything back and ends when the client does.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func echoServer(t testing.TB) netip.AddrPort { return listen(t, "127.0.0.1:0", echo) }

// dialProxy connects to a proxy. The connection is closed at the end of the
// test.
func dialProxy(t testing.TB, to netip.AddrPort, mode mptcp.Mode) *mptcp.Conn {
	t.Helper()
	c, err := tryProxy(t, to, mode)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryProxy(t testing.TB, to netip.AddrPort, mode mptcp.Mode) (*mptcp.Conn, error) {
	t.Helper()
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mode}, Timeout: patience}
	c, err := d.DialContext(context.Background(), "tcp", to.String())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c, nil
}

// expectReset connects to a proxy that resets the connection, which may happen
// before the client looks.
func expectReset(t testing.TB, to netip.AddrPort, mode mptcp.Mode) {
	t.Helper()
	c, err := tryProxy(t, to, mode)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("%v, want a reset", err)
	}
}

func send(t testing.TB, c io.Writer, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly these bytes.
func expect(t testing.TB, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// expectEnd reads the end of the stream, in order or by a reset.
func expectEnd(t testing.TB, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want the end of the connection", n, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
