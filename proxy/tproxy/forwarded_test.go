// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
)

func TestForwardedConnectionsAreIntercepted(t *testing.T) {
	for name, listeners := range map[string][]netip.AddrPort{
		"loopback":    both,
		"unspecified": {any4, any6},
		"one for all": {any6},
	} {
		for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModePrefer} {
			t.Run(fmt.Sprintf("%s/mptcp %v", name, mode), func(t *testing.T) {
				h := newHome(t)
				h.proxy(t, mode, Destination, listeners...)
				for _, to := range h.targets(serverPort) {
					if got := (call{host: h.Client, to: to}).greeting(t); got != "server "+h.clientAddr(to) {
						t.Errorf("before: %v answered %q", to, got)
					}
				}
				i := install(t, h.CPE, forwarded(listeners...))
				for _, to := range h.targets(serverPort) {
					for _, multipath := range []bool{false, true} {
						want := fmt.Sprintf("proxy %v mptcp=%v", to, multipath && mode != mptcp.ModeOff)
						if got := (call{host: h.Client, to: to, mptcp: multipath}).greeting(t); got != want {
							t.Errorf("%v answered %q, want %q", to, got, want)
						}
					}
				}
				if err := i.Close(); err != nil {
					t.Fatal(err)
				}
				for _, to := range h.targets(serverPort) {
					if got := (call{host: h.Client, to: to}).greeting(t); got != "server "+h.clientAddr(to) {
						t.Errorf("after: %v answered %q", to, got)
					}
				}
			})
		}
	}
}

// targets are the server's addresses of both families.
func (h home) targets(port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(h.ServerAddr.V4, port), netip.AddrPortFrom(h.ServerAddr.V6, port)}
}

// clientAddr is the client's address of the family of an address.
func (h home) clientAddr(of netip.AddrPort) string {
	if of.Addr().Is4() {
		return h.ClientAddr.V4.String()
	}
	return h.ClientAddr.V6.String()
}
