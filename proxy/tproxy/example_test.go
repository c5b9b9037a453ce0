// SPDX-License-Identifier: Apache-2.0

package tproxy_test

import (
	"fmt"
	"net/netip"

	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

func ExampleConfig_Explain() {
	c := tproxy.Config{
		Forwarded: tproxy.Forwarded{
			Capture: tproxy.Capture{
				To:      []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1080")},
				Exclude: tproxy.Exclude{DSCP: []uint8{46}},
			},
			Interfaces: []string{"br-lan"},
		},
	}
	web := tproxy.Flow{
		Interface:   "br-lan",
		Source:      netip.MustParseAddr("192.168.1.2"),
		Destination: netip.MustParseAddrPort("203.0.113.80:443"),
	}
	voice := web
	voice.DSCP = 46
	for _, flow := range []tproxy.Flow{web, voice} {
		e := c.Explain(flow)
		fmt.Printf("%v: %s\n\t%s\n", e.Outcome, e.Reason, e.Rule)
	}
	// Output:
	// intercepted: nothing leaves it out
	// 	meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:1080 goto deliver_mark_0x5461_0xffffffff_table_21601_priority_21601
	// passed: excluded DSCP (46)
	// 	ip dscp 46 return
}
