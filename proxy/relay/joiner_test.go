// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
)

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(peersEnv)); err == nil {
		peers(n)
		return
	}
	relaytest.Limits(20, 8)
	goleak.VerifyTestMain(m)
}

// rig is one event loop that relays pairs.
type rig struct {
	// within runs what makes sockets, in the namespace where they belong.
	within func(func() error) error
	loop   *event.Loop
	pool   *relay.Pool

	mu sync.Mutex // one connection is made at a time, so that accepts match
	// ears are the listeners of the client's and of the server's legs.
	ears [2][2]ear
}

type ear struct {
	relay mptcp.Listener   // on the client's side
	peer  *net.TCPListener // on the server's side
	addr  netip.AddrPort
}

// newRig runs a loop until the end of the test and checks then that pairs have
// given back what they borrowed.
func newRig(tb testing.TB, within func(func() error) error) *rig {
	tb.Helper()
	loop, err := event.NewLoop()
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{within: within, loop: loop, pool: relay.NewPool()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	tb.Cleanup(func() {
		if pipes, bytes := r.lent(tb); pipes != 0 || bytes != 0 {
			tb.Errorf("%d pipes and %d bytes have not been given back", pipes, bytes)
		}
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		r.pool.Close()
		for _, side := range r.ears {
			for _, e := range side {
				if e.peer != nil {
					e.peer.Close()
				} else if e.addr.IsValid() {
					unix.Close(e.relay.FD)
				}
			}
		}
	})
	return r
}

// on runs f on the loop and waits for it.
func (r *rig) on(tb testing.TB, f func()) {
	tb.Helper()
	done := make(chan struct{})
	if err := r.loop.Post(func() { f(); close(done) }); err != nil {
		tb.Fatal(err)
	}
	<-done
}

func (r *rig) lent(tb testing.TB) (pipes, bytes int) {
	tb.Helper()
	r.on(tb, func() { pipes, bytes = r.pool.Lent() })
	return pipes, bytes
}

// ear returns a listener on the loopback address, made on first use.
func (r *rig) ear(side int, transport relaytest.Transport) (*ear, error) {
	e := &r.ears[side][transport]
	if e.addr.IsValid() {
		return e, nil
	}
	var err error
	anywhere := netip.MustParseAddrPort("127.0.0.1:0")
	options := mptcp.ListenOptions{Mode: transport.Mode()}
	if side == relay.Client {
		if e.relay, err = mptcp.Listen(anywhere, options); err == nil {
			e.addr, err = mptcp.LocalAddr(e.relay.FD)
		}
	} else if e.peer, err = mptcp.NewListener(anywhere, options); err == nil {
		e.addr = e.peer.Addr().(*net.TCPAddr).AddrPort()
	}
	return e, err
}

// patience bounds the wait for a connection on loopback.
const patience = 30 * time.Second

func await(fd int, events int16) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, int(patience.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err == nil && n == 0:
			return errors.New("no connection in time")
		default:
			return err
		}
	}
}

// connect makes a connection to a peer's listener.
func (r *rig) connect(far *ear, transport relaytest.Transport) (client, server *net.TCPConn, err error) {
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: transport.Mode()}, Timeout: patience}
	dialled, err := d.DialContext(context.Background(), "tcp", far.addr.String())
	if err != nil {
		return nil, nil, err
	}
	far.peer.SetDeadline(time.Now().Add(patience))
	if server, err = far.peer.AcceptTCP(); err != nil {
		dialled.Close()
		return nil, nil, err
	}
	return dialled.TCPConn, server, nil
}

// clientLeg connects a client to one end of a pair.
func (r *rig) clientLeg(transport relaytest.Transport) (client *net.TCPConn, fd int, err error) {
	near, err := r.ear(relay.Client, transport)
	if err != nil {
		return nil, -1, err
	}
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: transport.Mode()}, Timeout: patience}
	dialled, err := d.DialContext(context.Background(), "tcp", near.addr.String())
	if err != nil {
		return nil, -1, err
	}
	if err = await(near.relay.FD, unix.POLLIN); err == nil {
		fd, _, err = mptcp.Accept(near.relay.FD)
	}
	if err != nil {
		dialled.Close()
		return nil, -1, err
	}
	return dialled.TCPConn, fd, nil
}

// serverLeg connects the other end of a pair to a server.
func (r *rig) serverLeg(transport relaytest.Transport) (server *net.TCPConn, fd int, err error) {
	far, err := r.ear(relay.Server, transport)
	if err != nil {
		return nil, -1, err
	}
	fd, _, err = mptcp.StartConnect(far.addr, nil, mptcp.ConnectOptions{Mode: transport.Mode()})
	if err != nil {
		return nil, -1, err
	}
	far.peer.SetDeadline(time.Now().Add(patience))
	if server, err = far.peer.AcceptTCP(); err == nil {
		if err = await(fd, unix.POLLOUT); err == nil {
			err = mptcp.ConnectError(fd)
		}
		if err != nil {
			server.Close()
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, -1, err
	}
	return server, fd, nil
}

// legs connects a client and a server to the two ends of a pair.
func (r *rig) legs(l relaytest.Legs) (client, server *net.TCPConn, fds [2]int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if client, fds[relay.Client], err = r.clientLeg(l.Client); err != nil {
		return nil, nil, fds, err
	}
	if server, fds[relay.Server], err = r.serverLeg(l.Server); err != nil {
		client.Close()
		unix.Close(fds[relay.Client])
	}
	return client, server, fds, err
}

// owner receives the end of a pair.
type owner chan error

func (o owner) Ended(err error) { o <- err }

func (o owner) Moved(int, uint64) {}

func (o owner) HalfClosed() {}
func (o owner) Ending()     {}

// start relays between two sockets.
func (r *rig) start(fds [2]int, q relaytest.Request) (*relay.Pair, owner, error) {
	p, o := new(relay.Pair), make(owner, 1)
	registered := make(chan error, 1)
	err := r.loop.Post(func() {
		for i, fd := range fds {
			p.Ends[i].FD, p.Ends[i].Plain = fd, mptcp.IsTCP(fd)
			if err := r.loop.Register(&p.Ends[i], p); err != nil {
				registered <- err
				return
			}
		}
		registered <- nil
		p.Start(r.loop, r.pool, o, &q.Timeouts, q.Early, q.Late)
	})
	if err == nil {
		err = <-registered
	}
	return p, o, err
}

// Join implements relaytest.Joiner.
func (r *rig) Join(q relaytest.Request) (*relaytest.Conn, error) {
	var client, server *net.TCPConn
	var fds [2]int
	err := r.within(func() (err error) {
		client, server, fds, err = r.legs(q.Legs)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect legs: %w", err)
	}
	p, o, err := r.start(fds, q)
	if err != nil {
		return nil, err
	}
	return &relaytest.Conn{
		Client: client, Server: server, Ended: o,
		Abort: func(err error) { r.loop.Post(func() { p.Abort(err) }) },
	}, nil
}

// loopback is the loopback interface of a namespace of its own, with packets
// of at most mtu bytes and with reno as congestion control: bbr takes it for a
// lossy path and stalls now and then. Where there can be no namespace it is
// that of the machine.
func loopback(tb testing.TB, mtu int) func(func() error) error {
	tb.Helper()
	if os.Geteuid() != 0 {
		return func(f func() error) error { return f() }
	}
	host, err := labtest.New(tb).Host("loopback")
	if err != nil {
		tb.Fatal(err)
	}
	if err := host.Sysctl("net.ipv4.tcp_congestion_control", "reno"); err != nil {
		tb.Fatal(err)
	}
	if _, err := host.Command(tb.Context(), "ip", "link", "set", "lo", "mtu", strconv.Itoa(mtu)).Output(); err != nil {
		tb.Fatal(err)
	}
	return host.Do
}

// TestConformance uses small packets: those of 64 KiB fill a receive buffer
// that has not grown yet, and MPTCP then waits for its retransmission timer.
func TestConformance(t *testing.T) { relaytest.Run(t, newRig(t, loopback(t, 1500))) }
