// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for the kernel.
const patience = 30 * time.Second

// dialOn makes a client in the namespace of a host.
func dialOn(t testing.TB, h *lab.Host) *Client {
	t.Helper()
	var c *Client
	err := h.Do(func() (err error) {
		c, err = Dial(Options{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func subscribeOn(t testing.TB, h *lab.Host, o Options) *Events {
	t.Helper()
	var e *Events
	err := h.Do(func() (err error) {
		e, err = Subscribe(o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// userspace makes the connections of a host ours.
func userspace(t testing.TB, h *lab.Host) {
	t.Helper()
	err := h.Do(func() error {
		_, err := mptcp.SetPathManager(mptcp.PathManagerUserspace)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs Linux 5.19 for the userspace path manager")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// awaitEvent waits for an event of a kind that match likes, and drops others.
func awaitEvent[E Event](t testing.TB, events *Events, match func(E) bool) E {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var seen []Event
	for {
		event, err := events.Next(ctx)
		if err != nil {
			t.Fatalf("no %T: %v; saw %+v", *new(E), err, seen)
		}
		if e, ok := event.(E); ok && (match == nil || match(e)) {
			return e
		}
		seen = append(seen, event)
	}
}

// connection is an MPTCP connection over the lab and what each end knows of it.
type connection struct {
	client, server           int // descriptors
	clientToken, serverToken uint32
}

// connect makes a connection between two hosts over which data has gone both
// ways, so that it can take more subflows.
func connect(t testing.TB, from, to *lab.Host, listen, remote netip.AddrPort) *connection {
	t.Helper()
	var l mptcp.Listener
	err := to.Do(func() (err error) {
		l, err = mptcp.Listen(listen, mptcp.ListenOptions{Mode: mptcp.ModeRequire, Socket: mptcp.SocketOptions{V6Only: mptcp.V6OnlyNo}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l.FD) })
	local, err := mptcp.LocalAddr(l.FD)
	if err != nil {
		t.Fatal(err)
	}
	c := new(connection)
	err = from.Do(func() (err error) {
		c.client, _, err = mptcp.StartConnect(netip.AddrPortFrom(remote.Addr(), local.Port()), nil, mptcp.ConnectOptions{Mode: mptcp.ModeRequire})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	ready(t, c.client, unix.POLLOUT)
	ready(t, l.FD, unix.POLLIN)
	if c.server, _, err = mptcp.Accept(l.FD); err != nil {
		t.Fatal(err)
	}
	c.talk(t)
	for fd, token := range map[int]*uint32{c.client: &c.clientToken, c.server: &c.serverToken} {
		s, err := mptcp.Negotiated(fd)
		if err != nil || !s.MPTCP {
			t.Fatalf("%+v, %v", s, err)
		}
		*token = s.Token
	}
	return c
}

func (c *connection) talk(t testing.TB) {
	t.Helper()
	for _, ends := range [][2]int{{c.client, c.server}, {c.server, c.client}} {
		if _, err := unix.Write(ends[0], []byte("!")); err != nil {
			t.Fatal(err)
		}
		ready(t, ends[1], unix.POLLIN)
		if n, err := unix.Read(ends[1], make([]byte, 1)); n != 1 {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
}

// transfer sends n bytes from the client to the server.
func (c *connection) transfer(t testing.TB, n int) {
	t.Helper()
	b := make([]byte, 64<<10)
	for sent, received := 0, 0; received < n; {
		p := []unix.PollFd{{Fd: int32(c.server), Events: unix.POLLIN}, {Fd: int32(c.client)}}
		if sent < n {
			p[1].Events = unix.POLLOUT
		}
		if k, err := unix.Poll(p, int(patience/time.Millisecond)); k == 0 || err != nil && err != unix.EINTR {
			t.Fatalf("stuck after %d of %d bytes: %v", received, n, err)
		}
		if p[1].Revents&unix.POLLOUT != 0 {
			if k, err := unix.Write(c.client, b[:min(len(b), n-sent)]); err == nil {
				sent += k
			} else if err != unix.EAGAIN {
				t.Fatal(err)
			}
		}
		if p[0].Revents != 0 {
			k, err := unix.Read(c.server, b)
			if err != nil && err != unix.EAGAIN || k == 0 {
				t.Fatalf("read %d bytes, %v", k, err)
			}
			received += max(k, 0)
		}
	}
}

// close ends the connection on both sides.
func (c *connection) close() {
	for _, fd := range []*int{&c.client, &c.server} {
		if *fd > 0 {
			unix.Close(*fd)
			*fd = 0
		}
	}
}

func ready(t testing.TB, fd int, events int16) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, int(time.Until(deadline)/time.Millisecond))
		if n > 0 && err == nil {
			return
		}
		if err != nil && err != unix.EINTR || time.Now().After(deadline) {
			t.Fatalf("descriptor not ready for %#x: %v", events, err)
		}
	}
}
