// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// address is a local one that subflows may use.
type address struct {
	netip.Addr
	index    int
	device   string
	loopback bool
	rank     int // among those of its family on the interface
}

// network knows the addresses and routes of a network namespace.
type network struct {
	handle    *netlink.Handle
	changes   *mdnetlink.Conn
	addresses []address
	// routes are what the kernel said since the last change.
	routes map[route]bool
}

type route struct{ local, remote netip.Addr }

// groups of rtnetlink(7) whose messages mean that something may have changed.
var groups = []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE}

func openNetwork(netNS int) (*network, error) {
	changes, err := mdnetlink.Dial(unix.NETLINK_ROUTE, &mdnetlink.Config{NetNS: netNS})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	n := &network{changes: changes}
	for _, group := range groups {
		if err := changes.JoinGroup(group); err != nil {
			n.close()
			return nil, fmt.Errorf("rtnetlink: %w", err)
		}
	}
	if netNS == 0 {
		n.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	} else {
		n.handle, err = netlink.NewHandleAt(netns.NsHandle(netNS), unix.NETLINK_ROUTE)
	}
	if err != nil {
		n.close()
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	return n, nil
}

func (n *network) close() {
	n.changes.Close()
	if n.handle != nil {
		n.handle.Close()
	}
}

// await waits until something may have changed. What it was is not looked at:
// messages can be lost.
func (n *network) await() error {
	_, err := n.changes.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}

// read asks for the addresses of interfaces that are up.
func (n *network) read() error {
	n.routes = make(map[route]bool)
	links, err := n.handle.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	up := make(map[int]*netlink.LinkAttrs)
	for _, l := range links {
		a := l.Attrs()
		// Tunnels know no other state than unknown.
		if a.RawFlags&unix.IFF_UP != 0 && (a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown) {
			up[a.Index] = a
		}
	}
	addrs, err := n.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	n.addresses = n.addresses[:0]
	for _, a := range addrs {
		link := up[a.LinkIndex]
		ip, ok := netip.AddrFromSlice(a.IP)
		if link == nil || !ok || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unusable != 0 {
			continue
		}
		found := address{Addr: ip.Unmap(), index: link.Index, device: link.Name, loopback: link.RawFlags&unix.IFF_LOOPBACK != 0}
		for _, other := range n.addresses {
			if other.index == found.index && other.Is4() == found.Is4() {
				found.rank++
			}
		}
		n.addresses = append(n.addresses, found)
	}
	// Where there is a limit, each interface gets its share.
	slices.SortStableFunc(n.addresses, func(a, b address) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.index, b.index))
	})
	return nil
}

// unusable addresses are not the host's yet, or not for new connections.
const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED

// find returns the local address, false if there is none on an interface that
// is up.
func (n *network) find(local netip.Addr) (address, bool) {
	i := slices.IndexFunc(n.addresses, func(a address) bool { return a.Addr == local })
	if i < 0 {
		return address{}, false
	}
	return n.addresses[i], true
}

// reaches reports whether packets from a get to the remote address through a's
// own interface. Those of the loopback interface may leave by any.
func (n *network) reaches(a address, remote netip.Addr) bool {
	if a.Is4() != remote.Is4() {
		return false
	}
	key := route{a.Addr, remote}
	if reaches, ok := n.routes[key]; ok {
		return reaches
	}
	// FIBMatch, because with an interface the kernel takes anything for a
	// neighbour if it knows no route (ip_route_output_key_hash_rcu in
	// net/ipv4/route.c).
	o := &netlink.RouteGetOptions{SrcAddr: net.IP(a.AsSlice()), FIBMatch: true}
	if !a.loopback {
		o.OifIndex = a.index
	}
	routes, err := n.handle.RouteGetWithOptions(net.IP(remote.AsSlice()), o)
	reaches := err == nil && len(routes) > 0 && (a.loopback || routes[0].LinkIndex == a.index) &&
		(routes[0].Type == unix.RTN_UNICAST || routes[0].Type == unix.RTN_LOCAL)
	n.routes[key] = reaches
	return reaches
}

// device is what to bind a subflow from a local address to; 0 is nothing.
func (n *network) device(local netip.Addr) int {
	a, ok := n.find(local)
	if !ok || a.loopback {
		return 0
	}
	return a.index
}
