// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestMain(m *testing.M) {
	if os.Getenv(installEnv) != "" {
		installAndWait()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait for the kernel.
const patience = 30 * time.Second

const (
	proxyPort  = 1234
	ownMark    = 0x7d
	serverPort = 80
)

var (
	any4      = netip.MustParseAddrPort("0.0.0.0:1234")
	any6      = netip.MustParseAddrPort("[::]:1234")
	loopback4 = netip.MustParseAddrPort("127.0.0.1:1234")
	loopback6 = netip.MustParseAddrPort("[::1]:1234")
	both      = []netip.AddrPort{loopback4, loopback6}
)

// home is a HybridHome whose server answers each connection to some ports with
// its name and the client's address.
type home struct {
	*lab.HybridHome
}

func newHome(t *testing.T) home {
	t.Helper()
	h := home{labtest.HybridHome(t, lab.HybridHomeSpec{})}
	for _, port := range []uint16{serverPort, 81, 443} {
		h.serve(t, h.Server, "server", port)
	}
	return h
}

// serve listens on a port of a host, both families, with plain TCP.
func (h home) serve(t *testing.T, host *lab.Host, name string, port uint16) {
	t.Helper()
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		o := mptcp.ListenOptions{Mode: mptcp.ModeOff, Socket: mptcp.SocketOptions{V6Only: mptcp.V6OnlyYes}}
		greet(t, host, netip.AddrPortFrom(any, port), o, func(c *net.TCPConn) string {
			return name + " " + c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()
		})
	}
}

// proxy listens on the CPE for intercepted connections, and answers each with
// its destination.
func (h home) proxy(t *testing.T, mode mptcp.Mode, destination func(fd int) (netip.AddrPort, error), addrs ...netip.AddrPort) {
	t.Helper()
	for _, addr := range addrs {
		o := mptcp.ListenOptions{Mode: mode, Socket: mptcp.SocketOptions{Transparent: true, Mark: ownMark}}
		if len(addrs) > 1 {
			o.Socket.V6Only = mptcp.V6OnlyYes
		}
		greet(t, h.CPE, addr, o, func(c *net.TCPConn) string {
			var dst netip.AddrPort
			err := onFD(c, func(fd int) (err error) {
				return h.CPE.Do(func() error { dst, err = destination(fd); return err })
			})
			if err != nil {
				return "error: " + err.Error()
			}
			multipath, _ := c.MultipathTCP()
			return fmt.Sprintf("proxy %s mptcp=%v", dst, multipath)
		})
	}
}

func onFD(c *net.TCPConn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// greet answers connections with a line, then echoes, until the test ends.
func greet(t *testing.T, host *lab.Host, addr netip.AddrPort, o mptcp.ListenOptions, greeting func(*net.TCPConn) string) {
	t.Helper()
	if addr.Addr().Is4() {
		o.Socket.V6Only = mptcp.V6OnlyDefault
	}
	var ln *net.TCPListener
	err := host.Do(func() (err error) {
		ln, err = mptcp.NewListener(addr, o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serving.Start(ln, func(c net.Conn) {
		if _, err := io.WriteString(c, greeting(c.(*net.TCPConn))+"\n"); err == nil {
			serving.Echo(c)
		}
	}))
}

// call is how a client connects.
type call struct {
	host  *lab.Host
	to    netip.AddrPort
	mptcp bool
	dscp  int
	mark  uint32
	local netip.Addr // bound to, with IP_TRANSPARENT
}

func (k call) dial(t *testing.T) (*net.TCPConn, error) {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	d.SetMultipathTCP(k.mptcp)
	if k.local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(k.local, 0))
	}
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctlErr := raw.Control(func(fd uintptr) {
			if k.mark != 0 {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(k.mark)))
			}
			if k.dscp != 0 && k.to.Addr().Is4() {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TOS, k.dscp<<2))
			}
			if k.dscp != 0 && k.to.Addr().Is6() {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TCLASS, k.dscp<<2))
			}
			if k.local.Is4() {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1))
			}
			if k.local.Is6() {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1))
			}
		})
		return errors.Join(ctlErr, err)
	}
	var c net.Conn
	err := k.host.Do(func() (err error) {
		c, err = d.Dial("tcp", k.to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), nil
}

// greeting connects and returns the line it gets.
func (k call) greeting(t *testing.T) string {
	t.Helper()
	c, err := k.dial(t)
	if err != nil {
		t.Fatalf("dial %v: %v", k.to, err)
	}
	defer c.Close()
	return readLine(t, c)
}

func readLine(t *testing.T, c net.Conn) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := c.Read(b); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
	}
}

// echoes sends a line over a connection and wants it back.
func echoes(t *testing.T, c net.Conn, line string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if got := readLine(t, c); got != line {
		t.Fatalf("got %q back, want %q", got, line)
	}
}

// install installs on a host until the end of the test.
func install(t *testing.T, host *lab.Host, c Config) *Interceptor {
	t.Helper()
	i, err := tryInstall(host, c)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

func tryInstall(host *lab.Host, c Config) (i *Interceptor, err error) {
	err = host.Do(func() error {
		i, err = Install(c)
		return err
	})
	return i, err
}

// state is everything that an installation may change.
func state(t *testing.T, host *lab.Host) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"nft list ruleset",
		"ip -4 rule", "ip -6 rule",
		"ip -4 route show table all", "ip -6 route show table all",
	} {
		fmt.Fprintf(&b, "$ %s\n%s", command, output(t, host, strings.Fields(command)...))
	}
	return b.String()
}

// unchanged checks that state is what it was before.
func unchanged(t *testing.T, host *lab.Host, before string) {
	t.Helper()
	if after := state(t, host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func output(t *testing.T, host *lab.Host, command ...string) string {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skip(err)
	}
	out, err := host.Command(t.Context(), command[0], command[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return string(out)
}

func forwarded(to ...netip.AddrPort) Config {
	return Config{OwnMark: ownMark, Forwarded: Forwarded{Capture: Capture{To: to}, Interfaces: []string{"lan"}}}
}

func own(to ...netip.AddrPort) Config {
	return Config{OwnMark: ownMark, Own: Own{Capture{To: to}}}
}
