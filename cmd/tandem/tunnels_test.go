// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestIdleTunnel is silent for longer than a handshake may take.
func TestIdleTunnel(t *testing.T) {
	t.Parallel()
	const brief = "timeouts: {handshake: 500ms, connect: 500ms, first-data: 0s}\n"
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, brief+aggregator, brief+cpe)
	echo(t, h.Server, "203.0.113.80:7")
	dial := func(from *lab.Host, address string) net.Conn {
		var c net.Conn
		err := from.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", address, 5*time.Second)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	tunnel := dial(h.Client, "203.0.113.80:7")
	exchange(t, tunnel)

	// A client that began later and says only half of what it wants is late.
	late := dial(h.CPE, "192.0.2.1:8803")
	if _, err := late.Write([]byte{1, 6, 0x22}); err != nil {
		t.Fatal(err)
	}
	late.SetReadDeadline(time.Now().Add(patience))
	if _, err := late.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("half a request is read with %v", err)
	}
	awaitLog(t, h.aggregator, "refused", "reason=handshake", "took too long")
	exchange(t, tunnel)
	tunnel.Close()
	awaitLog(t, h.cpe, "server=203.0.113.80:7", "up=24", "down=24")
}

// TestUpload sends a file from the LAN over both links.
func TestUpload(t *testing.T) {
	h := newHome(t, equalHome, 1000)
	server := netip.AddrPortFrom(h.ServerAddr.V4, 8080)
	serveHashes(t, h.Server, false, server)
	body := make([]byte, fileSize/2)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), body); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	before := sent(t, h.links()...)
	r := labtest.Curl(t, h.Client, "--max-time", "60", "-H", "Expect:", "--upload-file", file, "http://"+server.String())
	if got, want := string(r.Body), hashOf(body); r.ExitCode != 0 || got != want {
		t.Fatalf("curl's exit code %d (%s), the server's account %q, want %q", r.ExitCode, r.Message, got, want)
	}
	now := sent(t, h.links()...)
	for i, l := range h.links() {
		if share := float64(now[i]-before[i]) / float64(len(body)); share < 0.3 {
			t.Errorf("%s carried %.0f %% of the upload, want at least 30 %%", l.A.Dev, 100*share)
		}
	}
	awaitLog(t, h.cpe, "server="+server.String(), "server_mptcp=yes")
	if strings.Contains(h.cpe.Log.String(), "level=WARN") {
		t.Error("there was something to warn of")
	}
}
