// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/client"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// tandem is one that grants what it is asked for, with an upper bound.
type tandem struct {
	*proxy.Server
	converter, socks netip.AddrPort
}

func startTandem() (*tandem, error) {
	s, err := proxy.NewServer(proxy.Options{Workers: 1})
	if err != nil {
		return nil, err
	}
	most, err := options.ParseSet("inactivity-timeout=10m")
	if err != nil {
		return nil, err
	}
	listener := func(name string, front proxy.FrontEnd) *proxy.Listener {
		return &proxy.Listener{
			Name: name, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, FrontEnd: front,
			Socket:   mptcp.ListenOptions{Mode: mptcp.ModePrefer},
			Upstream: proxy.NewDirect("direct", mptcp.ConnectOptions{}, proxy.Source{}, false),
			Timeouts: proxy.Timeouts{Handshake: patience, Connect: patience, Relay: relay.Timeouts{Idle: time.Minute, HalfClosed: time.Minute}},
			Options:  options.Policy{Accept: []options.Source{options.FromConvert, options.FromSOCKS}, Caps: options.Caps{Max: most}},
		}
	}
	bound, err := s.Apply([]*proxy.Listener{
		listener("converter", proxy.NewConvertFront(converter.NewServer(converter.ServerConfig{AllowLoopback: true, Choices: true}))),
		listener("socks", proxy.NewSOCKS(socks.NewServer(&socks.Config{AnyUser: true}))),
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return &tandem{s, bound[0].Address, bound[1].Address}, nil
}

// only is what became of the options of the one connection.
func (s *tandem) only() *options.Grants {
	for l := range s.Live() {
		if l.Phase == "relaying" {
			return l.Options
		}
	}
	return nil
}

// echo serves one connection at a time on loopback.
func echo() (net.Listener, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	stop := serving.Start(l, func(c net.Conn) {
		_, _ = io.WriteString(c, "hello ") // with the Tandem's answer
		serving.Echo(c)
	})
	return l, stop, nil
}

func start(t *testing.T) (*tandem, net.Listener) {
	t.Helper()
	s, err := startTandem()
	if err != nil {
		t.Fatal(err)
	}
	l, stop, err := echo()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		stop()
	})
	return s, l
}

func set(t *testing.T, text string) options.Set {
	t.Helper()
	s, err := options.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDial(t *testing.T) {
	s, server := start(t)
	for name, through := range map[string]func(*client.Dialer){
		"converter": func(d *client.Dialer) { d.Converter = s.converter },
		"SOCKS5":    func(d *client.Dialer) { d.SOCKS = s.socks },
	} {
		t.Run(name, func(t *testing.T) {
			d := &client.Dialer{Options: set(t, "inactivity-timeout=1h"), Connect: mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModePrefer}}}
			through(d)
			_, port, _ := net.SplitHostPort(server.Addr().String())
			c, err := d.DialContext(t.Context(), "tcp4", net.JoinHostPort("localhost", port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Status.MPTCP != (mptcp.Supported() == nil) {
				t.Errorf("status %+v", c.Status)
			}
			if _, err := io.WriteString(c, "world"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len("hello world"))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello world" {
				t.Errorf("read %q, %v", b, err)
			}
			granted := set(t, "inactivity-timeout=10m")
			if name == "converter" && (!c.Answered || c.Granted != granted) {
				t.Errorf("answered %t: %s", c.Answered, c.Granted)
			}
			if g := s.only(); g == nil || g.Granted() != granted {
				t.Errorf("the Tandem grants %v", g)
			}
		})
	}
}

func TestDialFails(t *testing.T) {
	s, server := start(t)
	closed := server.Addr().String()
	server.Close()
	for _, tt := range []struct {
		name, network, address string
		dialer                 *client.Dialer
		want                   error
	}{
		{"no server", "tcp", closed, &client.Dialer{}, client.ErrServer},
		{"two servers", "tcp", closed, &client.Dialer{Converter: s.converter, SOCKS: s.socks}, client.ErrServer},
		{"network", "udp", closed, &client.Dialer{SOCKS: s.socks}, net.UnknownNetworkError("udp")},
		{"refused by the target of SOCKS", "tcp", closed, &client.Dialer{SOCKS: s.socks}, unix.ECONNREFUSED},
		{"refused by the target of Convert", "tcp", closed, &client.Dialer{Converter: s.converter}, unix.ECONNREFUSED},
		{"nobody there", "tcp", closed, &client.Dialer{SOCKS: netip.MustParseAddrPort("127.0.0.1:1")}, unix.ECONNREFUSED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := tt.dialer.DialContext(t.Context(), tt.network, tt.address); !errors.Is(err, tt.want) {
				t.Errorf("%v, %v; want %v", c, err, tt.want)
			}
		})
	}
}

// A Tandem that says nothing is waited for until the context ends.
func TestDialIsCancelled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := netip.MustParseAddrPort(silent.Addr().String())
	for name, d := range map[string]*client.Dialer{"converter": {Converter: at}, "SOCKS5": {SOCKS: at}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if c, err := silent.Accept(); err == nil {
					t.Cleanup(func() { c.Close() })
				}
				cancel()
			}()
			if _, err := d.DialContext(ctx, "tcp", "192.0.2.1:80"); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}
