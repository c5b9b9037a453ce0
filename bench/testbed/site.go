// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// site says who is who in a preset.
type site struct {
	// client runs the workload, edge has the access links.
	client, edge string
	// access links, the preferred one first.
	access []string
	// families tells that each link has an address family of its own. Linux adds
	// IPv4 subflows to connections over IPv6, and not the other way round, so
	// that the aggregator is asked over IPv6 there; legs of redundant connections
	// all go to one address.
	families bool
}

var sites = map[string]site{
	"two-path":    {"client", "client", []string{"wifi", "cell"}, false},
	"three-path":  {"client", "client", []string{"wifi", "cell", "sat"}, false},
	"phone":       {"phone", "phone", []string{"wifi", "cell"}, false},
	"hybrid-home": {"client", "cpe", []string{"dsl", "lte"}, false},
	"dual-stack":  {"client", "client", []string{"four", "six"}, true},
}

// ErrNoSite reports a topology that a bed cannot be made of.
var ErrNoSite = errors.New("not a preset with an aggregator and a server behind it")

// Presets are the names of the presets that beds are made of.
func Presets() []string { return slices.Sorted(maps.Keys(sites)) }

func siteOf(preset string) (site, error) {
	s, ok := sites[preset]
	if !ok {
		return s, fmt.Errorf("%s: %w (those are %s)", preset, ErrNoSite, strings.Join(Presets(), ", "))
	}
	return s, nil
}

// behind tells whether the client is another host than the edge.
func (s site) behind() bool { return s.client != s.edge }

// Addresses of the presets.
var (
	aggregatorV4 = netip.MustParseAddr("192.0.2.1")
	aggregatorV6 = netip.MustParseAddr("2001:db8:a::1")
	serverAddr   = netip.MustParseAddr("203.0.113.80")
	lanAddr      = netip.MustParseAddr("192.168.1.1") // the edge's, where clients are behind it
	loopback     = netip.AddrFrom4([4]byte{127, 0, 0, 1})
)

// Ports. Each way has a port of its own on the access links, by which bytes on
// them are told apart.
const (
	portTCP         = 9000 // of the server
	portMPTCP       = 9001
	portIntercepted = 9002 // which the edge takes from those who ask the server for it
	portSOCKS       = 1080 // of the aggregator
	portForwarded   = 8803 // converters
	portTransparent = 8804
	portRedundant   = 8805
	portFollowing   = 8806 // with the scheduler server
	portAsked       = 8810 // the first of those that are asked for schedulers
	portPeers       = 7000 // the first of them
	mostPeers       = 16
	portIntercept   = 8000 // of the edge
	entryForward    = 8001
	entryRedundant  = 8002
	entryFollowing  = 8003
	entryAsked      = 8010 // the first of them
)

// MostAsked is how many schedulers a bed can ask for.
const MostAsked = 16

// entry is where clients find the edge's listeners.
func (s site) entry(port uint16) netip.AddrPort {
	if s.behind() {
		return netip.AddrPortFrom(lanAddr, port)
	}
	return netip.AddrPortFrom(loopback, port)
}

// aggregator is where the aggregator is asked.
func (s site) aggregator(port uint16) netip.AddrPort {
	if s.families {
		return netip.AddrPortFrom(aggregatorV6, port)
	}
	return netip.AddrPortFrom(aggregatorV4, port)
}

// aggregatorListens are the addresses of a listener of the aggregator: subflows
// go to the port of the first one.
func aggregatorListens(port uint16) string {
	return fmt.Sprintf("%q, %q", netip.AddrPortFrom(aggregatorV4, port), netip.AddrPortFrom(aggregatorV6, port))
}

func server(port uint16) netip.AddrPort { return netip.AddrPortFrom(serverAddr, port) }
