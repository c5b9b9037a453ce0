// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	pcap "github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
)

// patience bounds what ought to happen soon.
const patience = 10 * time.Second

// serveHashes answers HTTP requests on an address of a host with the SHA-256
// of their bodies, over MPTCP or plain TCP, until stop or the end of the test.
func serveHashes(t *testing.T, h *lab.Host, multipath bool, addr netip.AddrPort) (stop func()) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = lc.Listen(t.Context(), "tcp", addr.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		fmt.Fprintln(w, hex.EncodeToString(hash.Sum(nil)), n, err)
	})}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { s.Close(); serving.Wait() })
	t.Cleanup(stop)
	return stop
}

// hashOf is what serveHashes answers to a request.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintln(hex.EncodeToString(sum[:]), len(body), error(nil))
}

// converse asks the aggregator for a connection, over MPTCP, and returns the
// answer; the connection stands until the end of the test.
func converse(t *testing.T, h *lab.Host, d *converter.Dialer, target netip.AddrPort, extras converter.Extras) (converter.Answer, *mptcp.Conn, error) {
	t.Helper()
	x, err := d.Connect(target, extras)
	if err != nil {
		t.Fatal(err)
	}
	for {
		c := dialConverter(t, h)
		if _, err := c.Write(x.AppendRequest(nil, time.Now())); err != nil {
			t.Fatal(err)
		}
		answer, err := readAnswer(t, x, c)
		if !errors.Is(err, converter.ErrRetry) {
			return answer, c, err
		}
	}
}

// dialConverter connects to the aggregator over MPTCP.
func dialConverter(t *testing.T, h *lab.Host) *mptcp.Conn {
	t.Helper()
	var c *mptcp.Conn
	err := h.Do(func() (err error) {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: 5 * time.Second}
		c, err = d.DialContext(t.Context(), "tcp", "192.0.2.1:8803")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// readAnswer expects nothing from the server itself.
func readAnswer(t *testing.T, x *converter.Exchange, c net.Conn) (converter.Answer, error) {
	t.Helper()
	b := make([]byte, 0, 2048)
	for {
		n, err := c.Read(b[len(b):cap(b)])
		if n == 0 && err != nil {
			t.Fatalf("after %x: %v", b, err)
		}
		b = b[:len(b)+n]
		answer, n, err := x.Read(b, time.Now())
		switch {
		case errors.Is(err, wire.ErrShort):
		case err == nil && n != len(b):
			t.Fatalf("%x after the answer %x", b[n:], b[:n])
		default:
			return answer, err
		}
	}
}

func needEBPF(t *testing.T, tandem *apps.Tandem) {
	t.Helper()
	for line := range strings.Lines(tandem.Banner.String()) {
		if what, found := strings.CutPrefix(strings.TrimSpace(line), "eBPF"); found && strings.TrimSpace(what) != "yes" {
			t.Skip(line)
		}
	}
}

// awaitSegment waits for a segment in a capture.
func awaitSegment(t *testing.T, c *pcap.Capture, what string, is func(pcap.Segment) bool) pcap.Segment {
	t.Helper()
	var found pcap.Segment
	labtest.Await(t, 10*time.Second, what, func() bool {
		segments, err := c.Segments()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segments {
			if is(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// TestServerMPTCP asks through the aggregator whether servers speak MPTCP, and
// compares what it tells of their SYN-ACKs with those.
func TestServerMPTCP(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	needEBPF(t, runTandem(t, tp.Aggregator, aggregator))
	dialer := converter.NewDialer(converter.DialerConfig{})
	probe := converter.Extras{Options: []wire.TCPOption{{Kind: wire.KindMPTCP}}}
	for i, c := range []struct {
		name   string
		server netip.Addr
		mptcp  bool // of the server
		extras converter.Extras
		want   bool // that it is found out
	}{
		{"MPTCP", tp.ServerAddr.V4, true, probe, true},
		{"MPTCP over IPv6", tp.ServerAddr.V6, true, probe, true},
		{"TCP", tp.ServerAddr.V4, false, probe, false},
		{"TCP over IPv6", tp.ServerAddr.V6, false, probe, false},
		{"not asked", tp.ServerAddr.V4, true, converter.Extras{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := netip.AddrPortFrom(c.server, uint16(8000+i))
			serveHashes(t, tp.Server, c.mptcp, server)
			recording := labtest.Capture(t, tp.Aggregator, "core", fmt.Sprintf("tcp port %d", server.Port()))
			answer, _, err := converse(t, tp.Client, dialer, server, c.extras)
			if err != nil {
				t.Fatal(err)
			}
			synack := awaitSegment(t, recording, "SYN-ACK", func(s pcap.Segment) bool {
				return s.IsSYNACK() && s.Src == server
			})
			if answer.ServerMPTCP != c.want || dialer.SpeaksMPTCP(server, time.Now()) != c.want {
				t.Errorf("the server is said to speak MPTCP: %t", answer.ServerMPTCP)
			}
			got, err := wire.ParseTCPOptions(answer.SYNACK)
			if err != nil {
				t.Errorf("options %x: %v", answer.SYNACK, err)
			}
			if want := blanked(synack.Options); !cmp.Equal(got, want) {
				t.Errorf("options of the SYN-ACK (-sent +told):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// blanked returns captured options with zeros for the key in MP_CAPABLE.
func blanked(options []pcap.Option) []wire.TCPOption {
	var list []wire.TCPOption
	for _, o := range options {
		value := append([]byte{}, o.Data...)
		if o.Kind == pcap.KindMPTCP && value[0]>>4 == pcap.MPCapable {
			clear(value[2:]) // RFC 8684 section 3.1: after subtype, version and flags
		}
		list = append(list, wire.TCPOption{Kind: o.Kind, Value: value})
	}
	return list
}

// TestBypass goes past the aggregator to a server that speaks MPTCP itself, for
// as long as it does.
func TestBypass(t *testing.T) {
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, aggregator, cpe+"    convert: {bypass-mptcp-servers: true}\n")
	needEBPF(t, h.aggregator)
	server := netip.AddrPortFrom(h.ServerAddr.V4, 8080)
	stop := serveHashes(t, h.Server, true, server)

	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/192.0.2.1:8803")
	recording := labtest.Capture(t, h.Server, "core", "tcp port 8080")
	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/bypass", "server_mptcp=yes")
	syn := awaitSegment(t, recording, "SYN", pcap.Segment.IsSYN)
	if _, multipath := syn.MPTCP(pcap.MPCapable); !multipath || syn.Src.Addr() != h.DSL.Addr.V4 {
		t.Errorf("SYN %+v, want one with MP_CAPABLE from %s", syn, h.DSL.Addr.V4)
	}

	// Once the server does without MPTCP, that is noticed and forgotten.
	stop()
	serveHashes(t, h.Server, false, server)
	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/bypass", "server_mptcp=peer_tcp")
	h.expectHash(t, server)
	labtest.Await(t, 5*time.Second, "the aggregator to be used again", func() bool {
		return countLogged(h.cpe, "server=203.0.113.80:8080", "upstream=hag/192.0.2.1:8803") == 2
	})
	if n := countLogged(h.aggregator, "server=203.0.113.80:8080"); n != 2 {
		t.Errorf("%d connections through the aggregator, want the first and the last", n)
	}
}

// expectHash posts something to serveHashes from the LAN.
func (h *home) expectHash(t *testing.T, server netip.AddrPort) {
	t.Helper()
	const body = "what is to be hashed"
	r := labtest.Curl(t, h.Client, "--max-time", "20", "--data-binary", body, "http://"+server.String())
	if got, want := string(r.Body), hashOf([]byte(body)); r.ExitCode != 0 || got != want {
		t.Fatalf("curl's exit code %d (%s), answer %q, want %q", r.ExitCode, r.Message, got, want)
	}
}

// countLogged counts the lines of the log that hold all of the words.
func countLogged(tandem *apps.Tandem, words ...string) int {
	n := 0
	for line := range strings.Lines(tandem.Log.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// reload gives tandem another configuration and waits until it is in force.
func reload(t *testing.T, tandem *apps.Tandem, config string) {
	t.Helper()
	const message = "configuration reloaded"
	before := countLogged(tandem, message)
	if err := tandem.Write("log: {level: debug}\n" + config); err != nil {
		t.Fatal(err)
	}
	if err := tandem.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, 5*time.Second, message, func() bool { return countLogged(tandem, message) > before })
}

// nft runs a script of nft(8) on a host.
func nft(t *testing.T, h *lab.Host, script string) {
	t.Helper()
	p := h.Command(context.Background(), "nft", "-f", "-")
	p.Stdin = strings.NewReader(script)
	if _, err := p.Output(); err != nil {
		t.Fatal(err)
	}
}
