// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
)

// banner tells whoever has started tandem what it can do here, where it listens
// and what to try.
func (g *gateway) banner(w io.Writer) {
	printVersion(w)
	line := func(name, value string) { fmt.Fprintf(w, "  %-14s %s\n", name, value) }
	line("MPTCP", g.machine.describeMPTCP())
	line("TCP Fast Open", g.machine.describeFastOpen())
	line("eBPF", g.describeEBPF())
	line("open files", g.machine.describeFiles())
	if !g.machine.netAdmin {
		line("CAP_NET_ADMIN", "no: traffic cannot be intercepted, clients' addresses not be kept, firewall marks not be set")
	}
	line("operators", g.admin.describe())
	if at := g.admin.remote.describe(); at != "" {
		line("page", at)
	}
	for i, b := range g.bound {
		l := g.listener(b.Name)
		if i == 0 || g.bound[i-1].Name != b.Name {
			fmt.Fprintf(w, "  %s (%s) → %s\n", l.Name, l.Type, g.describeUpstream(l))
		}
		fmt.Fprintf(w, "  %-14s %s %s\n", "", b.Address, describeSocket(b))
	}
	if hint := g.hint(); hint != "" {
		fmt.Fprintf(w, "Try:  %s\n", hint)
	}
	fmt.Fprintln(w, "Ready.")
}

func (g *gateway) describeEBPF() string {
	if g.noEBPF != nil {
		return "no: " + g.noEBPF.Error()
	}
	if err := g.programs.Missing(); err != nil {
		return "in part: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return "yes"
}

func (g *gateway) listener(name string) *config.Listener {
	for i := range g.current.config.Listeners {
		if l := &g.current.config.Listeners[i]; l.Name == name {
			return l
		}
	}
	return &config.Listener{Name: name}
}

// describeUpstream says where a listener's connections go.
func (g *gateway) describeUpstream(l *config.Listener) string {
	if l.Type == config.ListenForward {
		return l.Forward.Target.String() + " by " + l.Upstream
	}
	return l.Upstream
}

func describeSocket(b proxy.Bound) string {
	if b.MPTCP {
		return "MPTCP and TCP"
	}
	return "TCP (" + b.Reason.String() + ")"
}

// hint is a command that shows that it works, empty if there is none for
// programs of this machine.
func (g *gateway) hint() string {
	for _, b := range g.bound {
		l := g.listener(b.Name)
		if l.Type != config.ListenSOCKS5 {
			continue
		}
		user := ""
		if len(l.SOCKS5.Users) > 0 {
			user = "--proxy-user " + l.SOCKS5.Users[0].Name + " "
		}
		return fmt.Sprintf("curl --proxy socks5h://%s %shttps://www.rfc-editor.org/", reachable(b.Address), user)
	}
	return ""
}

// reachable is an address under which programs of this machine find a listener.
func reachable(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsUnspecified() {
		return a
	}
	if a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}
