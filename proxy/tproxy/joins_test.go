// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestJoinsAreNotRedirected watches the subflows that the kernel adds to a
// connection of the proxy itself: they leave by the other link, whether the
// mark that they inherit or the aggregator's address keeps them.
func TestJoinsAreNotRedirected(t *testing.T) {
	h := newHome(t)
	h.proxy(t, mptcp.ModePrefer, OriginalDestination, both...)
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		o := mptcp.ListenOptions{Mode: mptcp.ModeRequire, Socket: mptcp.SocketOptions{V6Only: mptcp.V6OnlyYes}}
		greet(t, h.Aggregator, netip.AddrPortFrom(any, 8803), o, func(*net.TCPConn) string { return "aggregator" })
	}
	marked := own(both...)
	excluded := own(both...)
	excluded.Upstreams = []netip.Addr{h.AggregatorAddr.V4, h.AggregatorAddr.V6}
	i := install(t, h.CPE, marked)
	for name, test := range map[string]struct {
		config Config
		mark   uint32
	}{
		"by the mark":    {marked, ownMark},
		"by the address": {excluded, 0},
	} {
		if err := i.Update(test.config); err != nil {
			t.Fatal(err)
		}
		for _, a := range []netip.Addr{h.AggregatorAddr.V4, h.AggregatorAddr.V6} {
			c, err := call{host: h.CPE, to: netip.AddrPortFrom(a, 8803), mptcp: true, mark: test.mark}.dial(t)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := readLine(t, c); got != "aggregator" {
				t.Fatalf("%s: %v answered %q", name, a, got)
			}
			echoes(t, c, "fully established")
			labtest.Await(t, patience, "a second subflow, excluded "+name, func() bool {
				var subflows []mptcp.Subflow
				err := onFD(c, func(fd int) (err error) {
					subflows, err = mptcp.Subflows(fd)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return len(subflows) == 2
			})
		}
	}
}
