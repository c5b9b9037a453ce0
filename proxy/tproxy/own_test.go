// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
)

func TestOwnConnectionsAreRedirected(t *testing.T) {
	for name, listeners := range map[string][]netip.AddrPort{
		"loopback":    both,
		"unspecified": {any4, any6},
		"one for all": {any6},
	} {
		for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModePrefer} {
			t.Run(fmt.Sprintf("%s/mptcp %v", name, mode), func(t *testing.T) {
				h := newHome(t)
				h.proxy(t, mode, OriginalDestination, listeners...)
				install(t, h.CPE, own(listeners...))
				for _, to := range h.targets(serverPort) {
					for _, multipath := range []bool{false, true} {
						want := fmt.Sprintf("proxy %v mptcp=%v", to, multipath && mode != mptcp.ModeOff)
						if got := (call{host: h.CPE, to: to, mptcp: multipath}).greeting(t); got != want {
							t.Errorf("%v answered %q, want %q", to, got, want)
						}
					}
					want := "server " + h.cpeAddr(to)
					if got := (call{host: h.CPE, to: to, mark: ownMark}).greeting(t); got != want {
						t.Errorf("with the proxy's mark %v answered %q, want %q", to, got, want)
					}
					want = "server " + h.clientAddr(to)
					if got := (call{host: h.Client, to: to}).greeting(t); got != want {
						t.Errorf("forwarded: %v answered %q, want %q", to, got, want)
					}
				}
			})
		}
	}
}

func (h home) cpeAddr(of netip.AddrPort) string {
	if of.Addr().Is4() {
		return h.DSL.Addr.V4.String()
	}
	return h.DSL.Addr.V6.String()
}
