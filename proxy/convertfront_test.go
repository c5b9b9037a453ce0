// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

const convertSuccess = "\x01\x01\x22\x63"

// convertListener is a Transport Converter that may be asked for loopback
// addresses.
func convertListener(c converter.ServerConfig) *Listener {
	c.AllowLoopback = true
	if c.Supported == nil {
		c.Supported = ConvertOptions()
	}
	return &Listener{
		Socket:   mptcp.ListenOptions{Mode: mptcp.ModePrefer},
		FrontEnd: NewConvertFront(converter.NewServer(c)),
	}
}

// connectMessage asks for a connection in a Convert message.
func connectMessage(t testing.TB, to netip.AddrPort, options ...wire.TCPOption) string {
	t.Helper()
	m := wire.Message{Connect: &wire.Connect{Addr: to.Addr(), Port: to.Port(), Options: options}}
	b, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hexed is the bytes of hex with spaces.
func hexed(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// readMessage reads a Convert message and nothing that follows.
func readMessage(t testing.TB, c io.Reader) wire.Message {
	t.Helper()
	b := make([]byte, wire.MaxLen)
	if _, err := io.ReadFull(c, b[:wire.HeaderLen]); err != nil {
		t.Fatalf("answer: %v", err)
	}
	b = b[:4*int(b[1])]
	if _, err := io.ReadFull(c, b[wire.HeaderLen:]); err != nil {
		t.Fatalf("answer: %v", err)
	}
	m, _, err := wire.Parse(b)
	if err != nil {
		t.Fatalf("answer % x: %v", b, err)
	}
	return m
}

func TestConvert(t *testing.T) {
	for _, family := range []string{"127.0.0.1:0", "[::1]:0"} {
		server := listen(t, family, echo)
		for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModeRequire} {
			t.Run(family+"/mptcp "+mode.String(), func(t *testing.T) {
				l := convertListener(converter.ServerConfig{})
				l.Addresses = []netip.AddrPort{netip.MustParseAddrPort(family)}
				p := serve(t, Options{}, l)
				c := dialProxy(t, p.addr, mode)
				// Request and data in one segment, as in a SYN.
				send(t, c, []byte(connectMessage(t, server)+"early"))
				expect(t, c, convertSuccess+"early")
				exchange(t, c, "words")
				p.quiescent()
				r := p.records.wait(t, 1)[0]
				if r.Server != server || r.Up != 10 || r.Down != 10 || r.ClientMPTCP.MPTCP != (mode == mptcp.ModeRequire) {
					t.Errorf("record %+v", r)
				}
			})
		}
	}
}

func TestConvertOneByteAtATime(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, convertListener(converter.ServerConfig{}))
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	if err := c.SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte(connectMessage(t, server) + "x") {
		send(t, c, []byte{b})
	}
	expect(t, c, convertSuccess+"x")
	exchange(t, c, "words")
}

// Information is all that is asked for: the answer, then the end.
func TestConvertInform(t *testing.T) {
	p := serve(t, Options{}, convertListener(converter.ServerConfig{Supported: []uint8{3, 4, 8, 30}}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hexed(t, "01 02 22 63 01 01 00 00")))
	expect(t, c, hexed(t, "01 03 22 63 15 02 00 00 03 04 08 1e"))
	expectEnd(t, c)
	c.Close()
	if s := p.quiescent(); s.Accepted != 1 {
		t.Errorf("stats %+v", s)
	}
}

// The error reaches the client although it goes on sending, and the connection
// ends after it.
func TestConvertRefusesBadMessages(t *testing.T) {
	p := serve(t, Options{}, convertListener(converter.ServerConfig{}))
	for name, test := range map[string]struct{ send, answer string }{
		"version 2":     {"02 06 22 63", "01 02 22 63 1e 01 00 01"},
		"length 0":      {"01 00 22 63", "01 02 22 63 1e 01 01 00"},
		"unknown TLV":   {"01 02 22 63 2a 01 00 00", "01 02 22 63 1e 01 02 2a"},
		"private TLV":   {"01 02 22 63 e0 01 00 00", "01 02 22 63 1e 01 02 e0"},
		"TLV overruns":  {"01 02 22 63 0a 05 01 bb", "01 02 22 63 1e 01 01 00"},
		"multicast":     {"01 06 22 63 0a 05 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff e0 00 00 01", "01 02 22 63 1e 01 01 00"},
		"user timeout":  {"01 07 22 63 0a 06 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff 7f 00 00 01 1c 04 00 05", "01 02 22 63 1e 01 21 1c"},
		"nothing asked": {"01 01 22 63", "01 02 22 63 1e 01 01 00"},
	} {
		c := dialProxy(t, p.addr, mptcp.ModePrefer)
		send(t, c, append([]byte(hexed(t, test.send)), make([]byte, 1000)...))
		expect(t, c, hexed(t, test.answer))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: read %d bytes, %v after the answer", name, n, err)
		}
		c.Close()
	}
	// What is not Convert is not answered.
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte("GET / HTTP/1.1\r\n\r\n"))
	expectEnd(t, c)
	if s := p.quiescent(); s.Refused["handshake"] != s.Accepted {
		t.Errorf("refused %v of %d", s.Refused, s.Accepted)
	}
}

func TestConvertHalfAMessage(t *testing.T) {
	l := convertListener(converter.ServerConfig{})
	l.Timeouts = Timeouts{Handshake: 50 * time.Millisecond, Connect: patience}
	p := serve(t, Options{}, l)
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(connectMessage(t, p.addr))[:10])
	expectEnd(t, c)
	p.quiescent()
}

func TestConvertErrorCodes(t *testing.T) {
	gone, up := echoServerGone(t), echoServer(t)
	deny, err := policy.NewDestinations(policy.DestinationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	dead := NewConvertHop(ConvertHopOptions{
		Name: "dead", Addresses: []netip.AddrPort{gone}, Dialer: converter.DialerConfig{AllowLoopback: true},
	})
	for _, test := range []struct {
		name   string
		change func(*Listener, *Options)
		target netip.AddrPort
		code   wire.ErrorCode
		reason string
	}{
		{"refused", func(*Listener, *Options) {}, gone, wire.ConnectionReset, "server"},
		{"denied", func(l *Listener, _ *Options) { l.Destinations = deny }, up, wire.NotAuthorized, "destination"},
		{"limited", func(_ *Listener, o *Options) { o.Limiter = limiter(t, policy.LimitsConfig{Rate: 0.001, Burst: 1}) }, up, wire.ResourceExceeded, "limit-rate"},
		{"no hop up", func(l *Listener, _ *Options) { l.Upstream = nowhere{} }, up, wire.NetworkFailure, "upstream"},
		{"hop down", func(l *Listener, _ *Options) { l.Upstream = only{dead} }, up, wire.NetworkFailure, "upstream"},
		{"plain TCP where MPTCP is required", func(l *Listener, _ *Options) { l.Require = true }, up, wire.NotAuthorized, "tcp"},
		{"server does not answer", func(l *Listener, _ *Options) {
			l.Timeouts = Timeouts{Handshake: patience, Connect: 50 * time.Millisecond}
		}, netip.MustParseAddrPort(fullServer(t)), wire.DestinationUnreachable, "server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, o := convertListener(converter.ServerConfig{}), Options{}
			test.change(l, &o)
			p := serve(t, o, l)
			if o.Limiter != nil {
				dialProxy(t, p.addr, mptcp.ModeOff).Close() // takes all there is
				await(t, "the first client to leave", func() bool { return p.Stats().Refused["handshake"]+p.Stats().Refused["gone"] == 1 })
			}
			c := dialProxy(t, p.addr, mptcp.ModeOff)
			send(t, c, []byte(connectMessage(t, test.target)+"data for nobody"))
			if m := readMessage(t, c); m.Error == nil || m.Error.Code != test.code {
				t.Errorf("answer %+v, want %s", m.Error, test.code)
			}
			expectEnd(t, c)
			c.Close()
			if s := p.quiescent(); s.Refused[test.reason] != 1 {
				t.Errorf("refused %v", s.Refused)
			}
		})
	}
}

// only is the upstream with one hop.
type only struct{ hop Hop }

func (o only) Hops(*Request) []Hop { return []Hop{o.hop} }

func TestConvertCookies(t *testing.T) {
	server := echoServer(t)
	jar, err := converter.NewCookieJar(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, Options{}, convertListener(converter.ServerConfig{Cookies: jar}))
	first := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, first, []byte(connectMessage(t, server)))
	e := readMessage(t, first).Error
	if e == nil || e.Code != wire.MissingCookie {
		t.Fatalf("answer %+v", e)
	}
	expectEnd(t, first)
	first.Close()

	m := wire.Message{Connect: &wire.Connect{Addr: server.Addr(), Port: server.Port()}, Cookie: e.Cookie()}
	b, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	second := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, second, b)
	expect(t, second, convertSuccess)
	exchange(t, second, "with a cookie")

	b[len(b)-1] ^= 1
	third := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, third, b)
	if e := readMessage(t, third).Error; e == nil || e.Code != wire.NotAuthorized {
		t.Errorf("answer to a forged cookie: %+v", e)
	}
	expectEnd(t, third)
	third.Close()
	if s := p.quiescent(); s.Refused["authentication"] != 2 || s.Relayed != 1 {
		t.Errorf("stats %+v", s)
	}
}

// mptcpEchoServer is an echo server that speaks MPTCP.
func mptcpEchoServer(t testing.TB) netip.AddrPort {
	t.Helper()
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	p := serve(t, Options{}, forwardTo("", echoServer(t)))
	return p.addr
}

// A client that lists MPTCP learns from the server's real SYN-ACK whether it
// speaks it; the key in it is not for the client.
func TestConvertExtendedTCPHeader(t *testing.T) {
	programs, err := bpf.Open(bpf.Options{})
	if err != nil || programs.SYNACKs() == nil {
		t.Skipf("needs eBPF: %v", err)
	}
	t.Cleanup(func() { programs.Close() })
	p := serve(t, Options{SYNACKs: programs.SYNACKs()}, convertListener(converter.ServerConfig{}))
	ask := wire.TCPOption{Kind: wire.KindMPTCP}
	for _, test := range []struct {
		name    string
		server  netip.AddrPort
		options []wire.TCPOption
		speaks  bool
	}{
		{"server with MPTCP, asked", mptcpEchoServer(t), []wire.TCPOption{ask}, true},
		{"server with MPTCP, not asked", mptcpEchoServer(t), nil, false},
		{"server without, asked", echoServer(t), []wire.TCPOption{ask}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(connectMessage(t, test.server, test.options...)))
			m := readMessage(t, c)
			options, err := wire.ParseTCPOptions(m.ExtendedTCPHeader)
			if err != nil || !slices.ContainsFunc(options, func(o wire.TCPOption) bool { return o.Kind == wire.KindMaxSegment }) {
				t.Fatalf("answer %+v: %v", m, err)
			}
			if wire.HasMPCapable(m.ExtendedTCPHeader) != test.speaks {
				t.Errorf("options % x", m.ExtendedTCPHeader)
			}
			for _, o := range options {
				if o.Kind == wire.KindMPTCP && !bytes.Equal(o.Value[2:], make([]byte, len(o.Value)-2)) {
					t.Errorf("the key is shown: % x", o.Value)
				}
			}
			exchange(t, c, "words")
		})
	}
}

// What another hop's SYN-ACK held is not told as the server's.
func TestConvertExtendedTCPHeaderIsTheServers(t *testing.T) {
	server := echoServer(t)
	next := serve(t, Options{}, convertListener(converter.ServerConfig{}))
	l := convertListener(converter.ServerConfig{})
	l.Upstream = only{NewConvertHop(ConvertHopOptions{
		Addresses: []netip.AddrPort{next.addr}, Dialer: converter.DialerConfig{AllowLoopback: true},
	})}
	p := serve(t, Options{SYNACKs: everySYNACK{}}, l)
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(connectMessage(t, server)))
	expect(t, c, convertSuccess)
	exchange(t, c, "words")

	direct := serve(t, Options{SYNACKs: everySYNACK{}}, convertListener(converter.ServerConfig{}))
	c = dialProxy(t, direct.addr, mptcp.ModePrefer)
	send(t, c, []byte(connectMessage(t, server)))
	if m := readMessage(t, c); m.ExtendedTCPHeader == nil {
		t.Errorf("answer %+v", m)
	}
}

// everySYNACK claims to know every SYN-ACK.
type everySYNACK struct{}

func (everySYNACK) AppendOptions(dst []byte, local uint16, remote netip.AddrPort) ([]byte, bool) {
	return append(binary.BigEndian.AppendUint16(append(dst, 254, 4), local), 1, 1, 1, 1), remote.IsValid()
}

func TestConvertOptionsAreTheKernels(t *testing.T) {
	kinds := ConvertOptions()
	if err := mptcp.Supported(); slices.Contains(kinds, wire.KindMPTCP) != (err == nil) {
		t.Errorf("kinds %d where MPTCP: %v", kinds, err)
	}
	if !slices.IsSorted(kinds) || len(slices.Compact(slices.Clone(kinds))) != len(kinds) {
		t.Errorf("kinds %d", kinds)
	}
}

func FuzzConvertHandshake(f *testing.F) {
	f.Add([]byte(connectMessage(f, netip.MustParseAddrPort("192.0.2.1:443"))))
	f.Add([]byte(hexed(f, "01 02 22 63 01 01 00 00")))
	f.Add([]byte(hexed(f, "01 02 22 63 1e 01 60 00")))
	front := NewConvertFront(converter.NewServer(converter.ServerConfig{Supported: []uint8{3, 30}}))
	client := Client{Remote: netip.MustParseAddrPort("198.51.100.7:1234")}
	f.Fuzz(func(t *testing.T, in []byte) {
		h := front.Greet(&client, time.Now())
		step, err := h.Next(bytes.Clone(in))
		if step.Consumed > len(in) || (step.Request == nil) != (err != nil) {
			t.Fatalf("%+v, %v", step, err)
		}
		if step.Request == nil {
			return
		}
		for _, o := range []Outcome{{}, {Err: net.ErrClosed}, {Err: fmt.Errorf("%w", policy.ErrDenied)}} {
			if m, n, err := wire.Parse(h.Reply(nil, o)); err != nil || n == 0 || (m.Error != nil) != (o.Err != nil) {
				t.Fatalf("%v is told as %+v: %v", o.Err, m, err)
			}
		}
	})
}
