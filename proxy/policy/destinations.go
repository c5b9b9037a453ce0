// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/gaissmai/bart"
)

// ErrDenied is what every [*Denied] wraps.
var ErrDenied = errors.New("destination denied by policy")

// Denied is the error of a destination that policy forbids.
type Denied struct {
	Addr     netip.AddrPort
	Rule     string     // the rule that says so
	Embedded netip.Addr // valid if the rule is about the IPv4 address within Addr
}

func (e *Denied) Error() string {
	if e.Embedded.IsValid() {
		return fmt.Sprintf("%v: %v (leads to %v): %s", ErrDenied, e.Addr, e.Embedded, e.Rule)
	}
	return fmt.Sprintf("%v: %v: %s", ErrDenied, e.Addr, e.Rule)
}

// Unwrap returns ErrDenied.
func (e *Denied) Unwrap() error { return ErrDenied }

// DestinationsConfig says where clients may go.
type DestinationsConfig struct {
	// Deny beats everything, Allow beats the default deny. Rules of one list
	// have no order: any that matches counts. A rule for ::/0 does not speak of
	// IPv4.
	Allow, Deny []Rule

	// Only denies whatever no Allow rule matches: Allow rules open what is
	// denied by default, but do not close the rest by themselves.
	Only bool

	// AllowPrivate opens private IPv4 ranges, carrier-grade NAT, benchmarking
	// ranges and IPv6 unique local addresses. Own addresses, loopback,
	// link-local, multicast and cloud metadata stay denied.
	AllowPrivate bool

	// OwnAddresses lists the addresses of this machine, which are denied by
	// default: services that listen on them may trust their neighbours. It is
	// called by NewDestinations and Refresh; nil means InterfaceAddresses.
	OwnAddresses func() ([]netip.Addr, error)
}

// Destinations says where clients may go. It may be asked from any goroutine;
// only the list of own addresses changes, by Refresh.
//
// An IPv6 address that stands for an IPv4 address (NAT64, 6to4, Teredo,
// IPv4-compatible) has to pass as both: else a client could name 10.0.0.1 as
// 64:ff9b::a00:1.
type Destinations struct {
	allow, deny  *ruleTable
	special      *bart.Table[special]
	only         bool
	allowPrivate bool
	ownAddresses func() ([]netip.Addr, error)
	own          atomic.Pointer[map[netip.Addr]struct{}]
}

// NewDestinations checks the rules and reads the machine's own addresses.
func NewDestinations(c DestinationsConfig) (*Destinations, error) {
	allow, allowErr := newRuleTable("allow", c.Allow)
	deny, denyErr := newRuleTable("deny", c.Deny)
	if err := errors.Join(allowErr, denyErr); err != nil {
		return nil, err
	}
	d := &Destinations{
		allow: allow, deny: deny, special: specials(),
		only: c.Only, allowPrivate: c.AllowPrivate, ownAddresses: c.OwnAddresses,
	}
	if d.ownAddresses == nil {
		d.ownAddresses = InterfaceAddresses
	}
	if err := d.Refresh(); err != nil {
		return nil, err
	}
	return d, nil
}

// Refresh reads the machine's own addresses again. To be called when they
// change; on an error the list from before stays in force.
func (d *Destinations) Refresh() error {
	addrs, err := d.ownAddresses()
	if err != nil {
		return fmt.Errorf("own addresses: %w", err)
	}
	own := make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		own[a.Unmap().WithZone("")] = struct{}{}
	}
	d.own.Store(&own)
	return nil
}

// InterfaceAddresses lists the addresses of all interfaces of the network
// namespace that the calling thread is in.
func InterfaceAddresses() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(nets))
	for _, n := range nets {
		ipnet, ok := n.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(ipnet.IP); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs, nil
}
