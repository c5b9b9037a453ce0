// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/converter"
)

// asNobody runs tandem as a user with no rights at all, from a directory that
// this user can read.
func asNobody(t *testing.T, config string) apps.TandemConfig {
	t.Helper()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "tandem-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := tandemConfig(t, config)
	c.Dir = dir
	program := filepath.Join(dir, "tandem")
	copyFile(t, program, c.Command[0])
	c.Command = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", program}
	return c
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
}

// bannerLine is what the banner says of something.
func bannerLine(t *testing.T, tandem *apps.Tandem, name string) string {
	t.Helper()
	for line := range strings.Lines(tandem.Banner.String()) {
		if value, found := strings.CutPrefix(line, "  "+name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no line %q in the banner:\n%s", name, tandem.Banner)
	return ""
}

// TestWithoutRights serves what needs no rights, and says what is missing.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	server := netip.AddrPortFrom(tp.ServerAddr.V4, 80)
	web := labtest.Nginx(t, tp.Server, 1_000_000, server)
	tandem, err := apps.StartTandem(context.Background(), tp.Aggregator, asNobody(t, bothServers))
	if err != nil {
		t.Fatal(err)
	}
	endWithTest(t, tp.Aggregator, tandem)
	if line := bannerLine(t, tandem, "eBPF"); !strings.HasPrefix(line, "no: ") || !strings.Contains(line, "CAP_") {
		t.Errorf("the banner says of eBPF: %q", line)
	}
	if line := bannerLine(t, tandem, "CAP_NET_ADMIN"); !strings.HasPrefix(line, "no: ") {
		t.Errorf("the banner says of CAP_NET_ADMIN: %q", line)
	}
	runTandem(t, tp.Client, socksClient)
	fetch(t, tp.Client, web, server, "--proxy", "socks5h://127.0.0.1:1080")
	awaitLog(t, tandem, "listener=phones", "client_mptcp=yes")

	// Convert works too, without word of the server's TCP options.
	answer, _, err := converse(t, tp.Client, converter.NewDialer(converter.DialerConfig{}), server, converter.Extras{})
	if err != nil || answer.SYNACK != nil {
		t.Errorf("answer %+v, %v", answer, err)
	}
}

// TestInterceptionWithoutRights cannot work, and says why.
func TestInterceptionWithoutRights(t *testing.T) {
	t.Parallel()
	l := labtest.New(t)
	host, err := l.Host("cpe")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"tproxy": cpe, "redirect": redirect, "source": through("source: client"),
	} {
		t.Run(name, func(t *testing.T) {
			tandem, err := apps.StartTandem(context.Background(), host, asNobody(t, config))
			if err == nil {
				tandem.Stop()
				t.Fatal("tandem runs")
			}
			if !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("no word of CAP_NET_ADMIN: %v", err)
			}
		})
	}
}

// TestWithoutMPTCP works over TCP where the kernel has MPTCP switched off.
func TestWithoutMPTCP(t *testing.T) {
	t.Parallel()
	h := &home{HybridHome: labtest.HybridHome(t, lab.HybridHomeSpec{})}
	h.v4, h.v6 = netip.AddrPortFrom(h.ServerAddr.V4, 80), netip.AddrPortFrom(h.ServerAddr.V6, 80)
	h.web = labtest.Nginx(t, h.Server, 1_000_000, h.v4, h.v6)
	for _, host := range []*lab.Host{h.CPE, h.Aggregator} {
		if err := host.Sysctl("net.mptcp.enabled", "0"); err != nil {
			t.Fatal(err)
		}
	}
	agg := runTandem(t, h.Aggregator, aggregator)
	gateway := runTandem(t, h.CPE, cpe)
	for _, tandem := range []*apps.Tandem{agg, gateway} {
		if line := bannerLine(t, tandem, "MPTCP"); !strings.HasPrefix(line, "no, ") || !strings.Contains(line, "net.mptcp.enabled") {
			t.Errorf("the banner says of MPTCP: %q", line)
		}
	}
	for _, server := range []netip.AddrPort{h.v4, h.v6} {
		fetch(t, h.Client, h.web, server)
		awaitLog(t, gateway, "server="+server.String(), "server_mptcp=disabled")
		awaitLog(t, agg, "server="+server.String(), "client_mptcp=disabled")
	}
}
