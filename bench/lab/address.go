// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route is an entry of a routing table.
type Route struct {
	// Dst is the destination; 0.0.0.0/0 or ::/0 is the default route.
	Dst netip.Prefix
	// Via is the next hop, in the family of Dst; zero: Dst is on the link.
	Via netip.Addr
	// Dev is the device. It may be empty when Via tells it.
	Dev string
	// Src is the preferred source address; zero: the kernel's choice.
	Src netip.Addr
	// Table is the routing table; 0 means main.
	Table int
	// Metric orders routes to the same destination, lowest first; 0 is the
	// kernel's default of the family.
	Metric int
	// Unreachable refuses the destination instead: senders get EHOSTUNREACH.
	// Via and Dev are not used then.
	Unreachable bool
}

// LastMetric is the highest metric, for a route of last resort.
const LastMetric = math.MaxInt32

// AddAddress adds an address to a device.
func (h *Host) AddAddress(dev string, addr netip.Prefix) error {
	return h.changeAddress("add", dev, addr, h.nl.AddrAdd)
}

// RemoveAddress removes an address from a device.
func (h *Host) RemoveAddress(dev string, addr netip.Prefix) error {
	return h.changeAddress("remove", dev, addr, h.nl.AddrDel)
}

func (h *Host) changeAddress(verb, dev string, addr netip.Prefix, change func(netlink.Link, *netlink.Addr) error) error {
	link, err := h.nl.LinkByName(dev)
	if err == nil {
		a := &netlink.Addr{IPNet: &net.IPNet{
			IP:   addr.Addr().AsSlice(),
			Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen()),
		}}
		if addr.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		err = change(link, a)
	}
	if err != nil {
		return fmt.Errorf("%s %s on %s of %q: %w", verb, addr, dev, h.name, err)
	}
	return nil
}

// AddRoute adds a route.
func (h *Host) AddRoute(r Route) error {
	nr, err := h.netlinkRoute(r)
	if err == nil {
		err = h.nl.RouteAdd(nr)
	}
	if err != nil {
		return fmt.Errorf("add route to %s of %q: %w", r.Dst, h.name, err)
	}
	return nil
}

// RemoveRoute removes a route that AddRoute has added.
func (h *Host) RemoveRoute(r Route) error {
	nr, err := h.netlinkRoute(r)
	if err == nil {
		err = h.nl.RouteDel(nr)
	}
	if err != nil {
		return fmt.Errorf("remove route to %s of %q: %w", r.Dst, h.name, err)
	}
	return nil
}

func (h *Host) netlinkRoute(r Route) (*netlink.Route, error) {
	if !r.Dst.IsValid() {
		return nil, errors.New("no destination")
	}
	nr := &netlink.Route{Dst: ipNet(r.Dst), Table: r.Table, Priority: r.Metric}
	if r.Unreachable {
		nr.Type = unix.RTN_UNREACHABLE
		return nr, nil
	}
	if r.Via.IsValid() {
		nr.Gw = r.Via.AsSlice()
	} else {
		nr.Scope = netlink.SCOPE_LINK
	}
	if r.Src.IsValid() {
		nr.Src = r.Src.AsSlice()
	}
	if r.Dev != "" {
		link, err := h.nl.LinkByName(r.Dev)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", r.Dev, err)
		}
		nr.LinkIndex = link.Attrs().Index
	}
	return nr, nil
}

// AddRule sends packets from the given source addresses to a routing table.
func (h *Host) AddRule(from netip.Prefix, table int) error {
	rule := netlink.NewRule()
	rule.Family = unix.AF_INET
	if from.Addr().Is6() {
		rule.Family = unix.AF_INET6
	}
	rule.Src = ipNet(from)
	rule.Table = table
	if err := h.nl.RuleAdd(rule); err != nil {
		return fmt.Errorf("add rule from %s to table %d of %q: %w", from, table, h.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// single is the prefix that holds just one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (h *Host) setLink(dev string, up bool) error {
	link, err := h.nl.LinkByName(dev)
	if err == nil {
		if up {
			err = h.nl.LinkSetUp(link)
		} else {
			err = h.nl.LinkSetDown(link)
		}
	}
	if err != nil {
		return fmt.Errorf("set %s of %q: %w", dev, h.name, err)
	}
	return nil
}
