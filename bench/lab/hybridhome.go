// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
)

// HybridHomeSpec describes the access links of a [HybridHome].
type HybridHomeSpec struct {
	DSL, LTE LinkSpec
}

// HybridHome is a home with two access links:
//
//	                      dsl 198.51.100.0/25
//	                      2001:db8:d::/64
//	         lan        .-------------------.              core
//	client ------- cpe <                     > aggregator ------- server
//	  192.168.1.0/24    '-------------------'    203.0.113.0/24
//	  2001:db8:1::/64     lte 198.51.100.128/25  2001:db8:c::/64
//	                      2001:db8:e::/64
//
// The aggregator's service address is reachable over both links. The CPE
// prefers DSL, sends packets from either of its addresses over the link that
// the address belongs to, and has an MPTCP endpoint with flag subflow for
// each. CPE and aggregator forward, and have routes for, traffic that goes
// past the proxies; it takes the DSL link.
type HybridHome struct {
	*backbone
	// Client is a host of the LAN, whose router is the CPE.
	Client     *Host
	ClientAddr Dual
	// CPE is the home's router; CPEAddr is its address in the LAN.
	CPE     *Host
	CPEAddr Dual
	// LAN connects the client (A) to the CPE (B), devices eth0 and lan.
	LAN *Link
	// DSL and LTE connect the CPE (A) to the aggregator (B).
	DSL, LTE Access
}

// NewHybridHome builds a HybridHome. The caller closes it.
func NewHybridHome(name string, spec HybridHomeSpec) (*HybridHome, error) {
	b, err := newBackbone(name, spec.DSL, spec.LTE)
	if err != nil {
		return nil, err
	}
	home := &HybridHome{
		backbone:   b,
		ClientAddr: dual("192.168.1.2", "2001:db8:1::2"),
		CPEAddr:    dual("192.168.1.1", "2001:db8:1::1"),
	}
	if err := home.build(spec); err != nil {
		b.Close()
		return nil, fmt.Errorf("lab %q: %w", name, err)
	}
	return home, nil
}

func (home *HybridHome) build(spec HybridHomeSpec) error {
	var err error
	if home.Client, err = home.Host("client"); err != nil {
		return err
	}
	if home.CPE, err = home.Host("cpe"); err != nil {
		return err
	}
	home.LAN, err = home.Link(home.Client, home.CPE, "eth0", "lan",
		home.ClientAddr.prefixes(bits4, bits6), home.CPEAddr.prefixes(bits4, bits6), feeding(spec.DSL, spec.LTE))
	if err != nil {
		return err
	}
	if err := defaultVia(home.Client, home.CPEAddr, "eth0", 0, 0); err != nil {
		return err
	}
	if err := home.CPE.Forwarding(true); err != nil {
		return err
	}
	if err := home.CPE.MPTCPLimits(mptcpLimit, mptcpLimit); err != nil {
		return err
	}
	home.DSL, err = home.connect(home.CPE, Access{
		Dev: "dsl", Table: 101,
		Addr:    dual("198.51.100.2", "2001:db8:d::2"),
		Gateway: dual("198.51.100.1", "2001:db8:d::1"),
	}, 100, spec.DSL)
	if err != nil {
		return err
	}
	home.LTE, err = home.connect(home.CPE, Access{
		Dev: "lte", Table: 102,
		Addr:    dual("198.51.100.130", "2001:db8:e::2"),
		Gateway: dual("198.51.100.129", "2001:db8:e::1"),
	}, 200, spec.LTE)
	if err != nil {
		return err
	}
	return home.routeLAN()
}

// routeLAN lets the aggregator reach the LAN, over DSL, and over LTE while DSL
// is down.
func (home *HybridHome) routeLAN() error {
	lan := []netip.Prefix{
		netip.PrefixFrom(home.ClientAddr.V4, bits4),
		netip.PrefixFrom(home.ClientAddr.V6, bits6),
	}
	for metric, access := range []Access{home.DSL, home.LTE} {
		for i, via := range access.Addr.each() {
			r := Route{Dst: lan[i], Via: via, Dev: access.Dev, Metric: 100 * (metric + 1)}
			if err := home.Aggregator.AddRoute(r); err != nil {
				return err
			}
		}
	}
	return nil
}
