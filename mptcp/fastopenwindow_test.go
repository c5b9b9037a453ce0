// SPDX-License-Identifier: Apache-2.0

package mptcp_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestFastOpenKeepsToTheWindow downloads over two links after data in the SYN.
// The server must not send more than fits the client's window, which would be
// dropped: see fastOpenBuffer.
func TestFastOpenKeepsToTheWindow(t *testing.T) {
	const size = 6_000_000
	link := lab.LinkSpec{Rate: 40e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 9000)
	serveDownloads(t, tp.Aggregator, to, size)
	request := []byte("give it to me")
	for _, want := range []int{0, len(request)} { // the first one gets the cookie
		var fd, sent int
		err := tp.Client.Do(func() (err error) {
			fd, sent, err = mptcp.StartConnect(to, request, mptcp.ConnectOptions{Mode: mptcp.ModeRequire, FastOpen: true})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "")
		defer f.Close()
		if sent != want {
			t.Fatalf("%d bytes in the SYN, want %d", sent, want)
		}
		f.SetDeadline(time.Now().Add(30 * time.Second))
		// Blocks until the connection stands.
		if _, err := f.Write(request[sent:]); err != nil && len(request[sent:]) > 0 {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, f); n != size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if n := counter(t, tp.Client, "NoDSSInWindow"); n != "0" {
		t.Errorf("%s segments came from outside of the window", n)
	}
	if n := counter(t, tp.Client, "MPJoinSynAckRx"); n != "2" {
		t.Errorf("%s second subflows, want 2", n)
	}
}

// serveDownloads answers the first bytes of each connection with size bytes.
func serveDownloads(t *testing.T, h *lab.Host, addr netip.AddrPort, size int) {
	t.Helper()
	var l *net.TCPListener
	err := h.Do(func() (err error) {
		l, err = mptcp.NewListener(addr, mptcp.ListenOptions{Mode: mptcp.ModeRequire, FastOpen: 16})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			if _, err := c.Read(make([]byte, 64)); err == nil {
				c.Write(make([]byte, size))
			}
			c.Close()
		}
	}()
}

// counter reads one of the counters that nstat shows as MPTcpExt….
func counter(t *testing.T, h *lab.Host, name string) (value string) {
	t.Helper()
	err := h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			if names := strings.Fields(lines[i]); len(names) > 0 && names[0] == "MPTcpExt:" {
				for j, n := range names {
					if n == name {
						value = strings.Fields(lines[i+1])[j]
					}
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if value == "" {
		t.Skipf("this kernel has no counter %s", name)
	}
	return value
}
