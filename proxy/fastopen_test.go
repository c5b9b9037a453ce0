// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
)

// namespaceChild is set in a process that runs one test in a network namespace
// of its own, where event loops with threads of their own are in it too.
const namespaceChild = "TANDEM_TEST_NAMESPACE"

// inOwnNamespace runs the test in such a process, and reports whether this is
// the one.
func inOwnNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceChild) == t.Name() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	c := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$", "-test.timeout=2m",
		"-rapid.checks="+flag.Lookup("rapid.checks").Value.String())
	c.Env = append(os.Environ(), namespaceChild+"="+t.Name())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	out, err := c.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in a namespace: %v\n%s", err, out)
	case bytes.Contains(out, []byte("\n--- SKIP")): // of a subtest it is indented
		t.Skipf("in a namespace:\n%s", out)
	}
	return false
}

func sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Skip(err)
	}
}

// fastOpens is how many connections of this namespace were opened with data in
// the SYN that was acknowledged.
func fastOpens(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if name == "TCPFastOpenActive" {
				var n int
				if _, err := fmt.Sscan(values[j], &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Skip("the kernel does not count Fast Open")
	return 0
}

// The request and the client's first bytes travel in the SYN, of MPTCP
// connections too. Where SYNs with data are dropped, the connection is made
// nonetheless, and those after it do without for a while.
func TestConvertInTheSYN(t *testing.T) {
	if !inOwnNamespace(t) {
		return
	}
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	sysctl(t, "ipv4/tcp_fastopen", "3")
	sysctl(t, "mptcp/blackhole_timeout", "0")
	for _, mode := range []mptcp.Mode{mptcp.ModePrefer, mptcp.ModeRequire} {
		t.Run("mptcp "+mode.String(), func(t *testing.T) {
			server := echoServer(t)
			l := convertListener(converter.ServerConfig{})
			l.Socket.FastOpen = 16
			aggregator := serve(t, Options{}, l)
			hop := toConverter("agg", aggregator.addr, mode)
			hop.connect.FastOpen = true
			cpe := serve(t, Options{}, through(only{hop}))
			early := "early"
			connect := func() Record {
				t.Helper()
				n := len(cpe.records.wait(t, 0))
				exchangeEarly(t, askEarly(t, cpe.addr, server, early), early)
				return cpe.records.wait(t, n+1)[n]
			}
			connect() // for the kernel's cookie
			before := fastOpens(t)
			if r := connect(); !r.ServerMPTCP.MPTCP {
				t.Errorf("record %+v", r)
			}
			if n := fastOpens(t) - before; n != 1 {
				t.Errorf("%d connections with data in the SYN", n)
			}

			dropDataInSYNs(t, aggregator.addr)
			if mode == mptcp.ModeRequire {
				// Bytes of the client that may have arrived are not sent again.
				early = ""
			}
			if r := connect(); mode == mptcp.ModePrefer && r.ServerMPTCP.Reason != mptcp.FastOpen {
				t.Errorf("record %+v", r)
			}
			if hop.fastOpen(time.Now()) {
				t.Error("the next one would be late, too")
			}
			if r := connect(); !r.ServerMPTCP.MPTCP {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// What the aggregator answers before it has the third segment of the handshake is
// not lost if that comes without MPTCP, as it does from Linux once its SYN was sent
// again.
func TestAnswerBeforeTheHandshake(t *testing.T) {
	if !inOwnNamespace(t) {
		return
	}
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	sysctl(t, "ipv4/tcp_fastopen", "3")
	sysctl(t, "mptcp/blackhole_timeout", "0")
	server := echoServer(t)
	l := convertListener(converter.ServerConfig{})
	l.Socket.FastOpen = 16
	aggregator := serve(t, Options{}, l)
	hop := toConverter("agg", aggregator.addr, mptcp.ModePrefer)
	hop.connect.FastOpen = true
	cpe := serve(t, Options{}, through(only{hop}))
	exchangeEarly(t, askEarly(t, cpe.addr, server, "early"), "early") // for the kernel's cookie
	filter(t, fmt.Sprintf("tcp sport %d tcp flags & (syn|ack) == (syn|ack) drop;", aggregator.addr.Port()))
	c := askEarly(t, cpe.addr, server, "early")
	await(t, "a server that is connected", func() bool { return aggregator.Stats().Relayed == 2 })
	filter(t, "")
	exchangeEarly(t, c, "early")
}

// filter replaces the rules for packets that come in.
func filter(t testing.TB, rules string) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader("table inet f\ndelete table inet f\ntable inet f { chain in { type filter hook input priority 0; " + rules + " }\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		t.Skipf("nft: %v\n%s", err, out)
	}
}

// dropDataInSYNs drops SYNs that are longer than the IPv4 header and the
// longest TCP header.
func dropDataInSYNs(t testing.TB, to netip.AddrPort) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(fmt.Sprintf(
		"table inet t { chain in { type filter hook input priority 0; tcp dport %d tcp flags & (syn|ack) == syn meta length > 80 drop; }\n}\n", to.Port()))
	if out, err := nft.CombinedOutput(); err != nil {
		t.Skipf("nft: %v\n%s", err, out)
	}
}
