// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// follow runs the blocks of a page on a host. The last one runs Tandem, until
// the end of the test. What it returns runs commands that the page tells of then.
func follow(t *testing.T, h *lab.Host, page, mark string) (tandem func(args ...string) string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := "cd " + dir + "; tandem() { " + asTandem + "=1 " + program + ` "$@"; }; `
	blocks := labtest.Blocks(t, filepath.Join("../../docs", page), mark)
	last := len(blocks) - 1
	for _, block := range blocks[:last] {
		shell(t, h, start+block)
	}
	file := filepath.Join(dir, "tandem.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Hosts share the files of this machine, and so the place of the socket.
	socket := filepath.Join(dir, "socket")
	if err := os.WriteFile(file, []byte(complete("admin: {socket: "+socket+"}\n"+string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	s := labtest.Start(t, h, "sh", "-ec", "cd "+dir+"; export "+asTandem+"=1; "+
		strings.Replace(blocks[last], "tandem", "exec "+program, 1))
	labtest.Await(t, 30*time.Second, "Ready of "+page, func() bool { return strings.Contains(s.Log.String(), "Ready.") })
	return func(args ...string) string {
		t.Helper()
		p := h.Command(t.Context(), program, append(args, "--socket", socket)...)
		p.Env = append(os.Environ(), asTandem+"=1")
		out, err := p.Output()
		if err != nil {
			t.Fatalf("tandem %s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
}

// TestQuickStartHome follows the pages for aggregator and gateway, and downloads
// over both links.
func TestQuickStartHome(t *testing.T) {
	t.Parallel()
	h := labtest.HybridHome(t, equalHome)
	server := netip.AddrPortFrom(h.ServerAddr.V4, 80)
	web := labtest.Nginx(t, h.Server, fileSize, server)
	aggregator := follow(t, h.Aggregator, "quickstart-aggregator.md", "sh")
	gateway := follow(t, h.CPE, "quickstart-cpe.md", "sh")
	checkAggregation(t, []*lab.Link{h.DSL.Link, h.LTE.Link}, func() apps.CurlResult { return fetch(t, h.Client, web, server) })
	if s := aggregator("status"); !strings.Contains(s, "gateways  convert  192.0.2.1:8803") {
		t.Errorf("status:\n%s", s)
	}
	labtest.Start(t, h.Client, "curl", "--silent", "--limit-rate", "300k", "--output", os.DevNull, web.URL(server))
	labtest.Await(t, 30*time.Second, "both links in the list", func() bool {
		list := gateway("connections", "--subflows")
		carries := func(link string) bool {
			return regexp.MustCompile(`(?m)^\d+ +server .* ` + link + ` +established `).MatchString(list)
		}
		return carries("dsl") && carries("lte")
	})
}

// TestQuickStartPhone follows the page for phones.
func TestQuickStartPhone(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}, Cell: lab.LinkSpec{Rate: linkRate}})
	server := netip.AddrPortFrom(tp.ServerAddr.V4, 80)
	web := labtest.Nginx(t, tp.Server, fileSize, server)
	follow(t, tp.Aggregator, "quickstart-phone.md", "sh server")
	follow(t, tp.Client, "quickstart-phone.md", "sh device")
	checkAggregation(t, []*lab.Link{tp.WiFi.Link, tp.Cell.Link}, func() apps.CurlResult {
		return fetch(t, tp.Client, web, server, "--proxy", "socks5h://127.0.0.1:1080")
	})
}
