// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// Way is a way from the client to the server.
type Way struct {
	Name string
	// About says in a few words what happens on it.
	About string
	// Multipath tells whether it may use all access links.
	Multipath bool
	Dial      workload.Dialer

	link string // the only access link, if there is one
	port uint16 // on the access links
}

// Names of the ways that Tandem takes.
const (
	SOCKS5      = "tandem socks5"
	Transparent = "tandem transparent"
	Forward     = "tandem forward"
	Redundant   = "tandem redundant"
	Following   = "tandem server-scheduler"
)

// AskingFor is the name of the way on which the edge asks for a scheduler.
func AskingFor(scheduler string) string { return "tandem " + scheduler }

// TCP and MPTCP are the names of the ways without a relay. Those over one access
// link are called TCP and the name of the link.
const (
	TCP   = "tcp"
	MPTCP = "mptcp"
)

// Single are plain TCP over each of the access links alone, from the edge.
func (b *Bed) Single() []Way {
	var ways []Way
	for _, name := range b.site.access {
		k := b.File.Links[name]
		var local netip.Addr
		for _, p := range k.A.Addresses {
			if p.Addr().Is4() {
				local = p.Addr()
			}
		}
		if !local.IsValid() {
			continue // of the other family than the server's address
		}
		o := mptcp.ConnectOptions{Mode: mptcp.ModeOff, Local: netip.AddrPortFrom(local, 0)}
		ways = append(ways, Way{
			Name: TCP + " " + name, About: "plain TCP over " + name + " alone",
			Dial: dialer(b.Edge, server(portTCP), o), link: name, port: portTCP,
		})
	}
	return ways
}

// alone tells whether the client's MPTCP over IPv4 can use all links.
func (b *Bed) alone() bool { return !b.site.behind() && !b.site.families }

// Plain is MPTCP from end to end, with a server that speaks it.
func (b *Bed) Plain() Way {
	return Way{
		Name: MPTCP, About: "MPTCP from the client to a server that speaks it, without a relay", Multipath: b.alone(),
		Dial: dialer(b.Client, server(portMPTCP), mptcp.ConnectOptions{Mode: mptcp.ModeRequire}), port: portMPTCP,
	}
}

// Tandem are the modes of Tandem.
func (b *Bed) Tandem() []Way {
	tcp := mptcp.ConnectOptions{Mode: mptcp.ModeOff}
	ways := []Way{{
		Name: SOCKS5, About: "the client speaks SOCKS5 over MPTCP with the aggregator", Multipath: !b.site.behind(),
		Dial: socksDialer(b.Client, b.site.aggregator(portSOCKS), true), port: portSOCKS,
	}, {
		Name: Transparent, About: "the edge intercepts plain TCP, and asks the aggregator with 0-RTT Convert over MPTCP", Multipath: true,
		Dial: dialer(b.Client, server(portIntercepted), tcp), port: portTransparent,
	}, {
		Name: Forward, About: "the client connects to a port of the edge, which asks the aggregator with 0-RTT Convert over MPTCP", Multipath: true,
		Dial: dialer(b.Client, b.site.entry(entryForward), tcp), port: portForwarded,
	}, {
		Name: Redundant, About: "as forward, with every byte on all links", Multipath: !b.site.families,
		Dial: dialer(b.Client, b.site.entry(entryRedundant), tcp), port: portRedundant,
	}}
	if b.spec.Steered {
		ways = append(ways, Way{
			Name: Following, About: "as forward, with the aggregator sending on the link that the client sent on last", Multipath: true,
			Dial: dialer(b.Client, b.site.entry(entryFollowing), tcp), port: portFollowing,
		})
	}
	for i, scheduler := range b.spec.Asked {
		ways = append(ways, Way{
			Name: AskingFor(scheduler), About: "as forward, with the scheduler " + scheduler + " asked of the aggregator", Multipath: true,
			Dial: dialer(b.Client, b.site.entry(entryAsked+uint16(i)), tcp), port: portAsked + uint16(i),
		})
	}
	return ways
}

// Ways are all but those of other relays.
func (b *Bed) Ways() []Way { return append(append(b.Single(), b.Plain()), b.Tandem()...) }

// Choose returns those of the ways that have a name, in the order of names.
func (b *Bed) Choose(names ...string) ([]Way, error) {
	var chosen []Way
	for _, name := range names {
		found := false
		for _, w := range b.Ways() {
			if w.Name == name {
				chosen, found = append(chosen, w), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no way is called %q", name)
		}
	}
	return chosen, nil
}

// Peers are the other relays, by name.
func (b *Bed) Peers() []peers.Peer {
	return peers.Others(peers.Tools{Dir: peers.Beside(b.spec.Tandem)})
}

// Start starts another relay on the aggregator, with a listener that speaks
// MPTCP. It ends with the bed. Errors wrap [peers.ErrMissing] where something
// is not installed.
func (b *Bed) Start(ctx context.Context, p peers.Peer) (Way, *peers.Instance, error) {
	if b.peers == mostPeers {
		return Way{}, nil, errors.New("too many relays")
	}
	port := portPeers + uint16(b.peers)
	dir := filepath.Join(b.dir, "peer"+strconv.Itoa(b.peers))
	b.peers++
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Way{}, nil, err
	}
	addr := netip.AddrPortFrom(aggregatorV4, port)
	i, err := p.Start(ctx, b.Aggregator, peers.Setup{Listen: addr, Target: server(portTCP), MPTCP: true, Dir: dir})
	if err != nil {
		return Way{}, nil, err
	}
	w := Way{Name: p.Name, About: p.About, Multipath: b.alone(), port: port}
	if p.Front == peers.SOCKS5 {
		w.Dial = socksDialer(b.Client, addr, false)
	} else {
		w.Dial = dialer(b.Client, addr, mptcp.ConnectOptions{Mode: mptcp.ModeRequire})
	}
	return w, i, nil
}

// dialer connects from a host.
func dialer(h *lab.Host, to netip.AddrPort, o mptcp.ConnectOptions) workload.Dialer {
	return func(ctx context.Context) (c net.Conn, err error) {
		err = h.Do(func() error {
			d := mptcp.Dialer{ConnectOptions: o}
			conn, err := d.DialContext(ctx, "tcp", to.String())
			if err != nil {
				return err
			}
			c = conn
			return conn.SetNoDelay(true)
		})
		return c, err
	}
}

// socksDialer connects to the server through a SOCKS5 server.
func socksDialer(h *lab.Host, to netip.AddrPort, eager bool) workload.Dialer {
	dial := dialer(h, to, mptcp.ConnectOptions{Mode: mptcp.ModeRequire})
	return func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok {
			err = c.SetDeadline(deadline)
		}
		if err == nil {
			err = ask(c, socks.Client{Eager: eager})
		}
		if err == nil {
			err = c.SetDeadline(time.Time{})
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
}

// ask has a SOCKS5 server connect to the server, which does not speak first, so
// that nothing is read too early.
func ask(c io.ReadWriter, client socks.Client) error {
	h := client.Handshake(socks.Target{Addr: server(portTCP)})
	var in []byte
	for {
		n, send, done, err := h.Next(in)
		if err != nil && !errors.Is(err, socks.ErrShort) {
			return err
		}
		in = in[n:]
		if len(send) > 0 {
			if _, err := c.Write(send); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		if n > 0 && err == nil && len(in) > 0 {
			continue // there may be another answer
		}
		var more [64]byte
		got, err := c.Read(more[:])
		if err != nil {
			return fmt.Errorf("SOCKS5: %w", err)
		}
		in = append(in, more[:got]...)
	}
}
