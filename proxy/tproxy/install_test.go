// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// everything uses each feature once.
func everything() Config {
	x := Exclude{
		Private:      true,
		Destinations: prefixes("192.0.2.0/25", "192.0.2.0/24", "192.0.3.0/24", "255.255.255.255/32", "0.0.0.0/32", "2001:db8:f::/48", "ffff::/16"),
		Ports:        []policy.PortRange{{From: 22, To: 25}, {From: 25, To: 30}, {From: 65000, To: 65535}, {}},
		DSCP:         []uint8{0, 46, 63},
	}
	c := Config{
		Name: "everything", OwnMark: ownMark, Mark: 0x100, Mask: 0xff00, Table: 70000, Priority: 5,
		Upstreams: []netip.Addr{netip.MustParseAddr("198.51.100.200"), netip.MustParseAddr("2001:db8:a::1")},
		Forwarded: Forwarded{
			Capture:    Capture{To: []netip.AddrPort{any4, loopback6}, Ports: []policy.PortRange{{From: 1, To: 65535}}, Exclude: x, RejectQUIC: true},
			Interfaces: []string{"lan", "br-guest.20"},
			Sources:    prefixes("192.168.0.0/16", "10.0.0.0/8"),
		},
		Own: Own{Capture{To: both, Exclude: x, RejectQUIC: true}},
	}
	c.Forwarded.Exclude.MACs = []MAC{{2, 1, 2, 3, 4, 5}, {2, 1, 2, 3, 4, 5}, {2}}
	return c
}

func TestCloseLeavesNothing(t *testing.T) {
	h := newHome(t)
	configs := map[string]Config{"forwarded": forwarded(both...), "own": own(both...), "everything": everything()}
	for name, c := range configs {
		before := state(t, h.CPE)
		i := install(t, h.CPE, c)
		if state(t, h.CPE) == before {
			t.Errorf("%s: nothing was installed", name)
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if after := state(t, h.CPE); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
		}
		if err := i.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		if err := i.Update(c); !errors.Is(err, ErrClosed) {
			t.Errorf("update after close: %v", err)
		}
	}
}

// TestRulesetIsWhatIsInstalled loads the printed ruleset with nft on another
// host and compares what the kernel has.
func TestRulesetIsWhatIsInstalled(t *testing.T) {
	h := newHome(t)
	c := everything()
	install(t, h.CPE, c)
	file := filepath.Join(t.TempDir(), "ruleset.nft")
	if err := os.WriteFile(file, []byte(c.Ruleset()), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, h.Aggregator, "nft", "-f", file)
	list := []string{"nft", "-n", "list", "table", "inet", "everything"}
	printed := output(t, h.Aggregator, list...)
	installed := output(t, h.CPE, list...)
	if diff := cmp.Diff(canonical(printed), canonical(installed)); diff != "" {
		t.Errorf("printed (-) and installed (+) differ:\n%s", diff)
	}
	// The commands in comments are those that were carried out.
	for line := range strings.Lines(c.Ruleset()) {
		if command, ok := strings.CutPrefix(line, "# "); ok {
			output(t, h.Aggregator, strings.Fields(command)...)
		}
	}
	for _, query := range []string{"ip -4 rule show priority 5", "ip -6 rule show priority 5", "ip -4 route show table 70000", "ip -6 route show table 70000"} {
		got, want := output(t, h.CPE, strings.Fields(query)...), output(t, h.Aggregator, strings.Fields(query)...)
		if got != want || got == "" {
			t.Errorf("%s: installed %q, printed %q", query, got, want)
		}
	}
}

var (
	owner    = regexp.MustCompile(` # progname .*\n\tflags owner\n\n`)
	elements = regexp.MustCompile(`elements = \{[^}]*\}`)
)

// canonical takes from a listing what only an owned table has, and the order of
// elements, which is that of a hash table.
func canonical(listing string) string {
	listing = owner.ReplaceAllString(listing, "\n")
	return elements.ReplaceAllStringFunc(listing, func(list string) string {
		words := strings.FieldsFunc(list, func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
		slices.Sort(words)
		return strings.Join(words, " ")
	})
}

func TestLargeLists(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	c := forwarded(both...)
	x := &c.Forwarded.Exclude
	for n := range 3000 {
		x.MACs = append(x.MACs, MAC{2, 0, 0, 0, byte(n >> 8), byte(n)})
		x.Destinations = append(x.Destinations,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(n >> 8), byte(n), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 2, byte(n >> 8), byte(n)}), 32))
	}
	x.Destinations = append(x.Destinations, single(h.ServerAddr.V6))
	i := install(t, h.CPE, c)
	if err := i.Update(c); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"proxy ", "server "} {
		if got := (call{host: h.Client, to: h.targets(serverPort)[n]}).greeting(t); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestForeignTableIsLeftAlone(t *testing.T) {
	h := newHome(t)
	output(t, h.CPE, "nft", "add", "table", "inet", "tandem")
	before := state(t, h.CPE)
	_, err := tryInstall(h.CPE, forwarded(both...))
	if !errors.Is(err, ErrInUse) || !strings.Contains(fmt.Sprint(err), "nft delete table inet tandem") {
		t.Errorf("got %v", err)
	}
	unchanged(t, h.CPE, before)
}

// TestForeignRoutingIsLeftAlone asks for a routing table that holds routes of
// others.
func TestForeignRoutingIsLeftAlone(t *testing.T) {
	h := newHome(t)
	before := state(t, h.CPE)
	c := forwarded(both...)
	c.Table = uint32(h.LTE.Table)
	if _, err := tryInstall(h.CPE, c); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	unchanged(t, h.CPE, before)
}

// TestFirewallReload has a firewall replace the whole ruleset.
func TestFirewallReload(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	install(t, h.CPE, forwarded(both...))
	output(t, h.CPE, "nft", "flush", "ruleset")
	if got := (call{host: h.Client, to: h.targets(serverPort)[0]}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("%q", got)
	}
}

func TestSourceValidMark(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	if err := h.CPE.Sysctl("net.ipv4.conf.all.src_valid_mark", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := tryInstall(h.CPE, forwarded(both...))
	if err == nil || !strings.Contains(err.Error(), "net.ipv4.conf.lan.accept_local=1") {
		t.Fatalf("got %v", err)
	}
	_, err = tryInstall(h.CPE, Config{KeepClientAddresses: true})
	if err == nil || !strings.Contains(err.Error(), "net.ipv4.conf.all.accept_local=1") {
		t.Fatalf("client addresses: got %v", err)
	}
	// The advice helps.
	if err := h.CPE.Sysctl("net.ipv4.conf.lan.accept_local", "1"); err != nil {
		t.Fatal(err)
	}
	install(t, h.CPE, forwarded(both...))
	for _, to := range h.targets(serverPort) {
		if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "proxy ") {
			t.Errorf("%v answered %q", to, got)
		}
	}
}

func TestSyncookies(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	if err := h.CPE.Sysctl("net.ipv4.tcp_syncookies", "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := tryInstall(h.CPE, forwarded(both...)); err == nil || !strings.Contains(err.Error(), "tcp_syncookies=1") {
		t.Errorf("got %v", err)
	}
	install(t, h.CPE, own(both...))
	if got := (call{host: h.CPE, to: h.targets(serverPort)[0]}).greeting(t); got == "" {
		t.Error("no answer")
	}
}

func TestIPv6SwitchedOff(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, loopback4)
	if err := h.CPE.Sysctl("net.ipv6.conf.all.disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := tryInstall(h.CPE, forwarded(both...)); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("got %v", err)
	}
	install(t, h.CPE, forwarded(loopback4))
	if got := (call{host: h.Client, to: h.targets(serverPort)[0]}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("%q", got)
	}
}
