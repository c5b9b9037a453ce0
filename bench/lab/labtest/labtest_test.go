// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCurlFetchesFromNginx(t *testing.T) {
	home := HybridHome(t, lab.HybridHomeSpec{DSL: lab.LinkSpec{Rate: 20e6}})
	v4 := netip.AddrPortFrom(home.ServerAddr.V4, 80)
	v6 := netip.AddrPortFrom(home.ServerAddr.V6, 80)
	const size = 1_000_000
	web := Nginx(t, home.Server, size, v4, v6)
	queue := Capture(t, home.Aggregator, "dsl", "tcp port 80")
	for _, addr := range []netip.AddrPort{v4, v6} {
		r := Curl(t, home.Client, web.URL(addr))
		if r.ExitCode != 0 || r.Status != 200 || r.Size != size || r.SHA256 != web.SHA256 {
			t.Errorf("%s: %+v, want %d bytes with hash %s", addr, r, size, web.SHA256)
		}
		if r.Rate < 5e6 || r.Rate > 22e6 {
			t.Errorf("%s: %.0f bit/s over a link of 20 Mbit/s", addr, r.Rate)
		}
	}
	segments, err := queue.Stop()
	if err != nil {
		t.Fatal(err)
	}
	const largest = 1500 - 20 - 20
	for _, s := range segments {
		if len(s.Payload) > largest {
			t.Fatalf("a packet with %d bytes was queued as one", len(s.Payload))
		}
	}
	if len(segments) < 2*size/largest {
		t.Errorf("captured %d segments of two times %d bytes", len(segments), size)
	}
	var requests []apps.Request
	Await(t, 30*time.Second, "two lines in the access log", func() bool {
		var err error
		if requests, err = web.Requests(); err != nil {
			t.Fatal(err)
		}
		return len(requests) == 2
	})
	for i, want := range []netip.Addr{home.ClientAddr.V4, home.ClientAddr.V6} {
		r := requests[i]
		if r.Remote.Addr() != want || r.Status != 200 || r.Bytes != size || r.Line != "GET /data HTTP/1.1" || r.Proxied.IsValid() {
			t.Errorf("request %d: %+v, want one from %s", i, r, want)
		}
	}
	missing := Curl(t, home.Client, "http://"+v4.String()+"/none")
	if missing.ExitCode != 0 || missing.Status != 404 || !strings.Contains(string(missing.Body), "404") {
		t.Errorf("missing file: %+v", missing)
	}
	refused := Curl(t, home.Client, "http://"+netip.AddrPortFrom(home.ServerAddr.V4, 81).String()+"/")
	if refused.ExitCode != 7 || refused.Status != 0 || refused.Message == "" {
		t.Errorf("closed port: %+v, want exit code 7", refused)
	}
}

func TestNginxReadsProxyHeader(t *testing.T) {
	l := New(t)
	h, err := l.Host("web")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort("127.0.0.1:8080")
	web := NginxWith(t, h, apps.NginxConfig{Listen: []netip.AddrPort{addr}, Size: 10, ProxyProtocol: true})
	var answer []byte
	err = h.Do(func() error {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(c, "PROXY TCP4 192.0.2.7 192.0.2.8 1111 2222\r\nGET /data HTTP/1.0\r\n\r\n")
		answer, err = io.ReadAll(c)
		return err
	})
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Fatalf("answer %q, %v", answer, err)
	}
	Await(t, 30*time.Second, "the request in the access log", func() bool {
		requests, err := web.Requests()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests {
			if r.Proxied == netip.MustParseAddrPort("192.0.2.7:1111") {
				return true
			}
		}
		return false
	})
}

// TestCaptureOnEmulatedLink reads segments of a device without Ethernet.
func TestCaptureOnEmulatedLink(t *testing.T) {
	tp := TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Emulate: true}})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V6, 5001)
	wifi := Capture(t, tp.Client, "wifi", "tcp port 5001")
	err := tp.Client.Do(func() error {
		c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	awaitSegment(t, wifi, "SYN", func(s packet.Segment) bool {
		return s.IsSYN() && s.Src.Addr() == tp.WiFi.Addr.V6 && s.Dst == to
	})
}

// TestCaptureSeesMPTCP looks at the handshakes of a connection and its second
// subflow on both links.
func TestCaptureSeesMPTCP(t *testing.T) {
	tp := TwoPath(t, lab.TwoPathSpec{})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V6, 5001)
	wifi := Capture(t, tp.Client, "wifi", "tcp port 5001")
	cell := Capture(t, tp.Aggregator, "cell", "tcp port 5001")

	var ln net.Listener
	err := tp.Aggregator.Do(func() (err error) {
		ln, err = net.Listen("tcp", to.String()) // MPTCP is Go's default for listeners
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var c net.Conn
	err = tp.Client.Do(func() (err error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		d.SetMultipathTCP(true)
		c, err = d.Dial("tcp", to.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const text = "seen on the wire"
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	// An answer makes the connection fully established, which the join awaits.
	if _, err := io.WriteString(server, text); err != nil {
		t.Fatal(err)
	}

	awaitSegment(t, wifi, "SYN with MP_CAPABLE", func(s packet.Segment) bool {
		_, ok := s.Options.MPTCP(wire.MPCapable)
		return ok && s.IsSYN() && s.Src.Addr() == tp.WiFi.Addr.V6 && s.Dst == to
	})
	awaitSegment(t, wifi, "SYN-ACK with MP_CAPABLE", func(s packet.Segment) bool {
		_, ok := s.Options.MPTCP(wire.MPCapable)
		return ok && s.IsSYNACK() && s.Src == to
	})
	awaitSegment(t, wifi, "payload", func(s packet.Segment) bool {
		return string(s.Payload) == text && s.Dst == to
	})
	awaitSegment(t, cell, "SYN with MP_JOIN", func(s packet.Segment) bool {
		_, ok := s.Options.MPTCP(wire.MPJoin)
		return ok && s.IsSYN() && s.Src.Addr() == tp.Cell.Addr.V6
	})
	segments, err := cell.Stop()
	if err != nil || len(segments) == 0 {
		t.Errorf("stopped capture: %d segments, %v", len(segments), err)
	}
}

func awaitSegment(t *testing.T, c *capture.Capture, what string, match func(packet.Segment) bool) {
	t.Helper()
	Await(t, 30*time.Second, what, func() bool {
		segments, err := c.Segments()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segments {
			if match(s) {
				return true
			}
		}
		return false
	})
}

func TestStartKeepsOutput(t *testing.T) {
	l := New(t)
	h, err := l.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	s := Start(t, h, "sh", "-c", "echo to stdout; echo to stderr >&2; exec sleep 60")
	Await(t, 30*time.Second, "output", func() bool {
		return strings.Contains(s.Log.String(), "to stdout\n") && strings.Contains(s.Log.String(), "to stderr\n")
	})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if code := s.ExitCode(); code != -1 {
		t.Errorf("exit code %d of a process that SIGTERM ended, want -1", code)
	}
}

func TestLabName(t *testing.T) {
	t.Run("with/Odd characters, and quite long", func(t *testing.T) {
		name := labName(t)
		if want := "tlabnamewithoddcharacter"; name != want {
			t.Errorf("name %q, want %q", name, want)
		}
	})
}
