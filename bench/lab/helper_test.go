// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// skipWithoutRoot skips a test that cannot make namespaces.
func skipWithoutRoot(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newLab(t *testing.T, name string) *Lab {
	t.Helper()
	l, err := New(name)
	skipWithoutRoot(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newHome(t *testing.T, name string, spec HybridHomeSpec) *HybridHome {
	t.Helper()
	home, err := NewHybridHome(name, spec)
	skipWithoutRoot(t, err)
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	return home
}

func mustHost(t *testing.T, l *Lab, name string) *Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pair makes two hosts a and b with one link.
func pair(t *testing.T, l *Lab, spec LinkSpec) (a, b *Host, k *Link) {
	t.Helper()
	a, b = mustHost(t, l, "a"), mustHost(t, l, "b")
	k, err := l.Link(a, b, "eth0", "eth0",
		[]netip.Prefix{netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("2001:db8::1/64")},
		[]netip.Prefix{netip.MustParsePrefix("198.51.100.2/24"), netip.MustParsePrefix("2001:db8::2/64")},
		spec)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, k
}

// listen serves every connection on the host with handle, until the test ends.
func listen(t *testing.T, h *Host, addr string, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	var ln net.Listener
	err := h.Do(func() error {
		var err error
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(true)
		ln, err = lc.Listen(context.Background(), "tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serving.Start(ln, handle))
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func dial(t *testing.T, h *Host, mptcp bool, addr netip.AddrPort) (*net.TCPConn, error) {
	t.Helper()
	var c net.Conn
	err := h.Do(func() error {
		d := net.Dialer{Timeout: 3 * time.Second}
		d.SetMultipathTCP(mptcp)
		var err error
		c, err = d.Dial("tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), nil
}

func mustDial(t *testing.T, h *Host, mptcp bool, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := dial(t, h, mptcp, addr)
	if err != nil {
		t.Fatalf("dial %s from %s: %v", addr, h.Name(), err)
	}
	return c
}

// discard reads a connection to its end.
func discard(c net.Conn) { io.Copy(io.Discard, c) }

// checkEcho sends a few bytes and wants them back.
func checkEcho(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	want := "over the link"
	if _, err := io.WriteString(c, want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("echoed %q, want %q", got, want)
	}
}

// patience bounds what has to happen at last, on a machine that has other things
// to do.
const patience = 30 * time.Second

// sendUntil writes to a connection until there is enough of something.
func sendUntil(t *testing.T, c net.Conn, what string, enough func() bool) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for end := time.Now().Add(patience); !enough(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		// A write that is full must not hide that there is enough by now.
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Write(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// sendFor writes to a connection for the given time.
func sendFor(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	sendUntil(t, c, "the time to be over", func() bool { return !time.Now().Before(end) })
}
