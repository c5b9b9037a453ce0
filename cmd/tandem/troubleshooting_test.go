// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/proxy"
)

// section is a part of the page by symptom, which begins with a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the page has no %q", heading)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	return part
}

// TestTroubleshootingStart makes the mistakes that the page tells of, and looks
// for what it says that Tandem says.
func TestTroubleshootingStart(t *testing.T) {
	t.Parallel()
	page := section(t, "It does not start")
	h := labtest.TwoPath(t, lab.TwoPathSpec{}).Aggregator
	const lan = `listeners: [{name: lan, type: tproxy, listen: ["127.0.0.1:8804"], tproxy: {interfaces: [eth9]`
	for _, tt := range []struct {
		row    string // of the table
		config string
		first  string // what another tandem does meanwhile
		before func()
		as     []string
	}{
		{"FILE:LINE:COLUMN: …", "listeners: nonsense", "", nil, nil},
		{"bind: address already in use", phones1081, phones1081, nil, nil},
		{"interception needs CAP_NET_ADMIN", lan + "}}]", "", nil, []string{"setpriv", "--bounding-set=-net_admin"}},
		{"nftables table inet tandem: in use by another process", lan + "}}]", strings.Replace(lan, "8804", "8805", 1) + "}}]", nil, nil},
		{"table N is in use", lan + ", table: 200}}]", "", func() { shell(t, h, "ip route add 203.0.113.128/25 dev lo table 200") }, nil},
		{"nftables table inet tandem: in use, and not made by Tandem", lan + "}}]", "", func() { shell(t, h, "nft add table inet tandem") }, nil},
	} {
		t.Run(tt.row, func(t *testing.T) {
			if !strings.Contains(page, "| `"+tt.row+"` |") {
				t.Fatalf("the page has no such row:\n%s", page)
			}
			if tt.first != "" {
				runTandem(t, h, tt.first)
			}
			if tt.before != nil {
				tt.before()
			}
			c := tandemConfig(t, tt.config)
			file := t.TempDir() + "/tandem.yaml"
			if err := os.WriteFile(file, []byte(c.Config), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append(append(tt.as, c.Command...), "run", "--config", file)
			p := h.Command(t.Context(), args[0], args[1:]...)
			p.Env = append(os.Environ(), c.Env...)
			var said strings.Builder
			p.Stdout, p.Stderr = &said, &said
			err := p.Run()
			want := strings.NewReplacer("FILE", regexp.QuoteMeta(file), "LINE", "[0-9]+", "COLUMN", "[0-9]+", " N ", " 200 ", "…", "").Replace(tt.row)
			if err == nil || !regexp.MustCompile(want).MatchString(said.String()) {
				t.Errorf("%v; it says\n%s", err, said.String())
			}
		})
	}
}

const phones1081 = `listeners: [{name: phones, type: socks5, listen: ["192.0.2.1:1081"], allow-from: [198.51.100.0/24]}]`

// TestTroubleshootingReasons: the page knows each reason why clients are refused.
func TestTroubleshootingReasons(t *testing.T) {
	page := section(t, "Clients are refused")
	for r := range proxy.Reason(proxy.NumReasons) {
		name := r.String()
		if strings.HasPrefix(name, "limit-") {
			name = "limit-…"
		}
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("nothing about %s", name)
		}
	}
}
