// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/redundant"
)

// gateway makes connections through a whole server for the suite of package
// relaytest. It opens a listener for each kind of connection asked for.
type gateway struct {
	proxied *proxied
	legs    relaytest.Legs
	// listener serves connections to a target over a transport.
	listener func(target netip.AddrPort, mode mptcp.Mode) *Listener
	// hello is what a client of the front end says to reach a target, and
	// answer how long a success is. A front end without a handshake has
	// neither, and nothing can be read ahead of the relay.
	hello  func(target netip.AddrPort) string
	answer int
	// late says whether bytes of the server can come along with the answer of
	// a hop.
	late bool

	mu      sync.Mutex // one connection is made at a time, so that accepts match
	servers [2]*net.TCPListener
	opened  map[kind]netip.AddrPort
	all     []*Listener
	clients uint16

	endings sync.Map // from flow to chan error
}

// kind is what needs a listener of its own.
type kind struct {
	timeouts relay.Timeouts
	server   relaytest.Transport
}

// name is that of the listener.
func (k kind) name() string { return fmt.Sprint(k) }

// flow identifies a connection of a client: another may come from the same
// port to another listener.
type flow struct {
	listener string
	client   netip.AddrPort
}

// newGateway starts a server without listeners.
func newGateway(t *testing.T, g *gateway) *gateway {
	t.Helper()
	g.opened = map[kind]netip.AddrPort{}
	for _, transport := range []relaytest.Transport{relaytest.TCP, relaytest.MPTCP} {
		if transport == relaytest.MPTCP && mptcp.Supported() != nil {
			continue
		}
		l, err := mptcp.NewListener(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Mode: transport.Mode()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		g.servers[transport] = l
	}
	g.proxied = serve(t, Options{Recorder: g})
	return g
}

// ending is where the end of a connection is told. It is made by whoever comes
// first of its record and the one who waits for that.
func (g *gateway) ending(f flow) chan error {
	c, second := g.endings.LoadOrStore(f, make(chan error, 1))
	if second {
		g.endings.Delete(f)
	}
	return c.(chan error)
}

// Record implements Recorder. A server that resets at once may do so before the
// converter has told of it, which then tells of the reset; as streams do.
func (g *gateway) Record(r *Record) {
	err := r.Err
	var answered *converter.Error
	if errors.As(err, &answered) && answered.Code == wire.ConnectionReset || errors.Is(err, redundant.ErrReset) {
		err = unix.ECONNRESET
	}
	g.ending(flow{r.Listener, r.Client}) <- err
}

// address is where connections of a kind are accepted.
func (g *gateway) address(k kind) (netip.AddrPort, error) {
	if addr, ok := g.opened[k]; ok {
		return addr, nil
	}
	l := g.listener(g.target(k.server), k.server.Mode())
	l.Name = k.name()
	l.Socket.Mode = mptcp.ModePrefer
	complete(l)
	l.Timeouts.Relay = k.timeouts
	bound, err := g.proxied.Apply(append(g.all, l))
	if err != nil {
		return netip.AddrPort{}, err
	}
	g.all = append(g.all, l)
	g.opened[k] = bound[len(bound)-1].Address
	return g.opened[k], nil
}

func (g *gateway) target(transport relaytest.Transport) netip.AddrPort {
	return g.servers[transport].Addr().(*net.TCPAddr).AddrPort()
}

// Join implements relaytest.Joiner.
func (g *gateway) Join(r relaytest.Request) (*relaytest.Conn, error) {
	if len(r.Early) > 0 && g.hello == nil || len(r.Late) > 0 && !g.late {
		return nil, fmt.Errorf("read ahead: %w", errors.ErrUnsupported)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := kind{r.Timeouts, r.Legs.Server}
	addr, err := g.address(k)
	if err != nil {
		return nil, err
	}
	// A client of its own for each connection: a port may be used again before
	// the end of its last connection has been told.
	g.clients++
	local := netip.AddrFrom4([4]byte{127, 1, byte(g.clients >> 8), byte(g.clients)})
	d := mptcp.Dialer{Timeout: patience, ConnectOptions: mptcp.ConnectOptions{
		Mode:  r.Legs.Client.Mode(),
		Local: netip.AddrPortFrom(local, 0),
	}}
	client, err := d.DialContext(context.Background(), "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	from := flow{k.name(), client.LocalAddr().(*net.TCPAddr).AddrPort()}
	c := &relaytest.Conn{Client: client.TCPConn, Ended: g.ending(from)}
	// A connection with a short time-out may have ended by now.
	if err := g.meet(c, r); err != nil && (r.Timeouts == (relay.Timeouts{}) || !errors.Is(err, unix.ECONNRESET)) {
		c.Client.Close()
		if c.Server != nil {
			c.Server.Close()
		}
		return nil, err
	}
	return c, nil
}

// meet asks for the server and accepts the connection that comes of it.
func (g *gateway) meet(c *relaytest.Conn, r relaytest.Request) error {
	c.Client.SetDeadline(time.Now().Add(patience))
	said := make(chan error, 1)
	go func() {
		if g.hello == nil {
			said <- nil
			return
		}
		// In one piece, so that data follows the request in its segment.
		_, err := c.Client.Write(append([]byte(g.hello(g.target(r.Legs.Server))), r.Early...))
		said <- err
	}()
	l := g.servers[r.Legs.Server]
	l.SetDeadline(time.Now().Add(patience))
	var err error
	if c.Server, err = l.AcceptTCP(); err == nil && len(r.Late) > 0 {
		_, err = c.Server.Write(r.Late)
	}
	if err == nil {
		_, err = io.ReadFull(c.Client, make([]byte, g.answer))
	}
	return errors.Join(err, <-said)
}

// straight is the upstream that asks the server itself.
func straight(mode mptcp.Mode) Upstream {
	return NewDirect("direct", mptcp.ConnectOptions{Mode: mode}, Source{}, false)
}

// smallPackets as in package relay: large ones make MPTCP wait for timers.
func smallPackets(t *testing.T) {
	t.Helper()
	sysctl(t, "ipv4/tcp_congestion_control", "reno")
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetMTU(lo, 1500)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestConformanceOfStreams does it with streams of two legs in the middle.
func TestConformanceOfStreams(t *testing.T) {
	if !inOwnNamespace(t) {
		return
	}
	smallPackets(t)
	aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{Redundancy: true}))
	legs := relaytest.Legs{Client: relaytest.MPTCP, Server: relaytest.TCP}
	relaytest.Run(t, newGateway(t, &gateway{
		legs: legs,
		listener: func(netip.AddrPort, mptcp.Mode) *Listener {
			return through(redundantly(aggregator.addr, twoPaths()))
		},
		hello:  func(target netip.AddrPort) string { return hello + request(socks.Connect, target) },
		answer: len(welcome) + len("\x05\x00\x00\x01") + 4 + 2,
		late:   true,
	}), legs)
}

// TestConformance holds whole servers to the behaviour of a wire: front ends
// and kinds of upstreams, and with them every pair of transports once. Package
// relay has the combinations.
func TestConformance(t *testing.T) {
	if !inOwnNamespace(t) {
		return
	}
	smallPackets(t)
	aggregator := convertListener(converter.ServerConfig{})
	aggregatorAddr := serve(t, Options{}, aggregator).addr
	for name, front := range map[string]*gateway{
		"forward": {
			legs: relaytest.Legs{Client: relaytest.MPTCP, Server: relaytest.MPTCP},
			listener: func(target netip.AddrPort, mode mptcp.Mode) *Listener {
				l := forwardTo("", target)
				l.Upstream = straight(mode)
				return l
			},
		},
		"socks": {
			legs:     relaytest.Legs{Client: relaytest.MPTCP, Server: relaytest.TCP},
			listener: func(_ netip.AddrPort, mode mptcp.Mode) *Listener { return through(straight(mode)) },
			hello:    func(target netip.AddrPort) string { return hello + request(socks.Connect, target) },
			answer:   len(welcome) + len("\x05\x00\x00\x01") + 4 + 2,
		},
		"convert": {
			legs: relaytest.Legs{Client: relaytest.TCP, Server: relaytest.MPTCP},
			listener: func(_ netip.AddrPort, mode mptcp.Mode) *Listener {
				l := convertListener(converter.ServerConfig{})
				l.Upstream = straight(mode)
				return l
			},
			hello:  func(target netip.AddrPort) string { return connectMessage(t, target) },
			answer: len(convertSuccess),
		},
		// Two servers in a row: bytes of the last one come with the answer of
		// the second.
		"forward through a converter": {
			legs: relaytest.Legs{Client: relaytest.TCP, Server: relaytest.TCP},
			listener: func(target netip.AddrPort, _ mptcp.Mode) *Listener {
				l := forwardTo("", target)
				l.Upstream = only{toConverter("aggregator", aggregatorAddr, mptcp.ModePrefer)}
				return l
			},
			late: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relaytest.Run(t, newGateway(t, front), front.legs)
		})
	}
}
