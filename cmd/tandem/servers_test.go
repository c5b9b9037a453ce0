// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/trace/packet"
	mptcpwire "github.com/tandem-gateway/tandem/trace/wire"
)

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

// TestServerMPTCP asks through the aggregator whether servers speak MPTCP, and
// compares what it tells of their SYN-ACKs with those.
func TestServerMPTCP(t *testing.T) {
	t.Parallel()
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
			synack := awaitSegment(t, recording, "SYN-ACK", func(s packet.Segment) bool {
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
func blanked(options packet.Options) []wire.TCPOption {
	var list []wire.TCPOption
	for kind, data := range options.All() {
		value := append([]byte{}, data...)
		if _, ok := mptcpwire.ParseCapable(value); ok && kind == mptcpwire.Kind {
			clear(value[2:]) // RFC 8684 section 3.1: after subtype, version and flags
		}
		list = append(list, wire.TCPOption{Kind: kind, Value: value})
	}
	return list
}

// TestBypass goes past the aggregator to a server that speaks MPTCP itself, for
// as long as it does.
func TestBypass(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, aggregator, cpe+"    convert: {bypass-mptcp-servers: true}\n")
	needEBPF(t, h.aggregator)
	server := netip.AddrPortFrom(h.ServerAddr.V4, 8080)
	stop := serveHashes(t, h.Server, true, server)

	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/192.0.2.1:8803")
	recording := labtest.Capture(t, h.Server, "core", "tcp port 8080")
	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/bypass", "server_mptcp=yes")
	syn := awaitSegment(t, recording, "SYN", packet.Segment.IsSYN)
	if _, multipath := syn.Options.MPTCP(mptcpwire.MPCapable); !multipath || syn.Src.Addr() != h.DSL.Addr.V4 {
		t.Errorf("SYN %+v, want one with MP_CAPABLE from %s", syn, h.DSL.Addr.V4)
	}

	// Once the server does without MPTCP, that is noticed and forgotten.
	stop()
	serveHashes(t, h.Server, false, server)
	h.expectHash(t, server)
	awaitLog(t, h.cpe, "server=203.0.113.80:8080", "upstream=hag/bypass", "server_mptcp=peer_tcp")
	h.expectHash(t, server)
	labtest.Await(t, 30*time.Second, "the aggregator to be used again", func() bool {
		return countLogged(h.cpe, "server=203.0.113.80:8080", "upstream=hag/192.0.2.1:8803") == 2
	})
	// The aggregator may log the end of the last connection after the CPE has.
	labtest.Await(t, 30*time.Second, "the aggregator to have seen the first connection and the last", func() bool {
		return countLogged(h.aggregator, "server=203.0.113.80:8080") >= 2
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
