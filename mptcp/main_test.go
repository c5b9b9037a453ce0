// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	loopback4 = netip.MustParseAddrPort("127.0.0.1:0")
	loopback6 = netip.MustParseAddrPort("[::1]:0")
)

// patience bounds every wait for the kernel. SYNs are repeated after 1, 3 and
// 7 seconds.
const patience = 30 * time.Second

func needMPTCP(t testing.TB) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
}

// inNamespace has the test alone in a network namespace whose kernel always tries
// MPTCP.
func inNamespace(t testing.TB) {
	t.Helper()
	labtest.Alone(t)
	if Supported() == nil {
		sysctl(t, "mptcp/blackhole_timeout", "0")
	}
}

func sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			t.Skipf("kernel has no net/%s", name)
		}
		t.Fatal(err)
	}
}

// nft replaces the rules for packets that arrive.
func nft(t testing.TB, rules string) {
	t.Helper()
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader("flush ruleset\ntable inet t { chain in { type filter hook prerouting priority -300;\n" + rules + "\n}\n}\n")
	if out, err := c.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs nft")
	} else if err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

func mustListen(t testing.TB, addr netip.AddrPort, o ListenOptions) (Listener, netip.AddrPort) {
	t.Helper()
	l, err := Listen(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l.FD) })
	local, err := LocalAddr(l.FD)
	if err != nil {
		t.Fatal(err)
	}
	return l, local
}

// ready waits for an event on fd.
func ready(t testing.TB, fd int, events int16) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, int(time.Until(deadline)/time.Millisecond))
		if err == nil && n > 0 {
			return
		}
		if err != nil && err != unix.EINTR || time.Now().After(deadline) {
			t.Fatalf("descriptor not ready for %#x: %v", events, err)
		}
	}
}

func mustAccept(t testing.TB, l Listener) (int, netip.AddrPort) {
	t.Helper()
	ready(t, l.FD, unix.POLLIN)
	fd, remote, err := Accept(l.FD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, remote
}

// mustConnect connects and returns how many bytes of data went with the SYN.
func mustConnect(t testing.TB, to netip.AddrPort, data []byte, o ConnectOptions) (fd, sent int) {
	t.Helper()
	fd, sent, err := StartConnect(to, data, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ready(t, fd, unix.POLLOUT)
	if err := ConnectError(fd); err != nil {
		t.Fatal(err)
	}
	return fd, sent
}

// pair is both ends of a new connection.
func pair(t testing.TB, addr netip.AddrPort, client, server Mode) (c, s int) {
	t.Helper()
	l, local := mustListen(t, addr, ListenOptions{Mode: server})
	c, _ = mustConnect(t, local, nil, ConnectOptions{Mode: client})
	s, _ = mustAccept(t, l)
	return c, s
}

// talk sends a message from one end to the other.
func talk(t testing.TB, from, to int, message string) {
	t.Helper()
	if _, err := unix.Write(from, []byte(message)); err != nil {
		t.Fatal(err)
	}
	hear(t, to, message)
}

func hear(t testing.TB, fd int, message string) {
	t.Helper()
	b := make([]byte, len(message))
	if _, err := io.ReadFull(reader{t, fd}, b); err != nil || string(b) != message {
		t.Fatalf("read %q, %v; want %q", b, err, message)
	}
}

type reader struct {
	t  testing.TB
	fd int
}

func (r reader) Read(b []byte) (int, error) {
	r.t.Helper()
	ready(r.t, r.fd, unix.POLLIN)
	n, err := unix.Read(r.fd, b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// eventually waits for a condition that the kernel does not signal.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
