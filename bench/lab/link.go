// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// carrierTimeout bounds the wait for a device that has been set up.
const carrierTimeout = 5 * time.Second

// LinkSpec describes a link. It is the same in both directions, unless Back
// says otherwise.
type LinkSpec struct {
	// Rate is the capacity in bit/s, counted over whole Ethernet frames;
	// 0 is unlimited. A full-size TCP segment carries about 95 % payload.
	Rate uint64
	// Queue is the length of the drop-tail queue in front of a rate, in bytes;
	// 0 is 60 ms at that rate, but at least 30 kB. Unlimited links have none.
	Queue uint32
	// MTU in bytes; 0 is 1500.
	MTU int
	// PerPacket makes the hosts send single segments even while the link has no
	// rate, for links that feed a shaped one. With segmentation offload a veth
	// carries up to 64 kB as one packet, which is forwarded whole and which a
	// queue in bytes would count, or drop, as one.
	PerPacket bool

	// Emulate carries the link through an emulator in this process instead of a
	// veth pair, so that its conditions can be changed while traffic runs: see
	// [Link.Change]. It is implied by any of the fields below.
	Emulate bool
	// Delay, Jitter, Loss and Reorder are those of [emulator.Conditions].
	Delay, Jitter time.Duration
	Loss          emulator.Loss
	Reorder       float64
	// QueuePackets limits the queue in packets as well.
	QueuePackets uint32
	// Back are the conditions from B to A where they differ from those from A
	// to B.
	Back *emulator.Conditions
	// Seed makes what is random about the link repeatable.
	Seed uint64
}

// End is one end of a link.
type End struct {
	Host *Host
	Dev  string
}

// Link is a point-to-point Ethernet between two hosts.
type Link struct {
	A, B End

	spec     LinkSpec
	shaped   bool
	emulator *emulator.Emulator // of an emulated link
	lost     []lostRoutes       // of the ends, while the link is down
}

// Counters holds the bytes of the Ethernet frames that arrived at the far end.
type Counters struct {
	AToB, BToA uint64
}

// Total is the sum of both directions.
func (c Counters) Total() uint64 { return c.AToB + c.BToA }

// Sub is what has been added since an earlier reading.
func (c Counters) Sub(earlier Counters) Counters {
	return Counters{AToB: c.AToB - earlier.AToB, BToA: c.BToA - earlier.BToA}
}

// Link connects two hosts by a veth pair, or by an emulated link, with the given
// device names and addresses, and brings it up. Of a [Link], SetRate, Down and Up must not run
// at the same time.
func (l *Lab) Link(a, b *Host, aDev, bDev string, aAddrs, bAddrs []netip.Prefix, spec LinkSpec) (*Link, error) {
	k := &Link{A: End{a, aDev}, B: End{b, bDev}, spec: spec}
	if err := k.create(aAddrs, bAddrs); err != nil {
		return nil, fmt.Errorf("link %s of %q to %s of %q: %w", aDev, a.name, bDev, b.name, err)
	}
	return k, nil
}

func (k *Link) create(aAddrs, bAddrs []netip.Prefix) error {
	createDevices := k.createVeth
	if k.spec.emulated() {
		createDevices = k.createEmulated
	}
	if err := createDevices(); err != nil {
		return err
	}
	for _, e := range []struct {
		End
		addrs []netip.Prefix
	}{{k.A, aAddrs}, {k.B, bAddrs}} {
		for _, addr := range e.addrs {
			if err := e.Host.AddAddress(e.Dev, addr); err != nil {
				return err
			}
		}
	}
	return k.bringUp()
}

func (k *Link) createVeth() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = k.A.Dev
	attrs.MTU = k.spec.MTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName = k.B.Dev
	veth.PeerMTU = uint32(k.spec.MTU)
	veth.PeerNamespace = netlink.NsFd(int(k.B.Host.ns))
	if err := k.A.Host.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	if k.spec.PerPacket {
		for _, e := range []End{k.A, k.B} {
			if err := e.perPacket(); err != nil {
				return err
			}
		}
	}
	return k.SetRate(k.spec.Rate)
}

// bringUp sets both ends up and waits until they carry packets.
func (k *Link) bringUp() error {
	ends := []End{k.A, k.B}
	for _, e := range ends {
		if err := e.Host.setLink(e.Dev, true); err != nil {
			return err
		}
	}
	for _, e := range ends {
		if err := e.awaitCarrier(); err != nil {
			return err
		}
	}
	return nil
}

// awaitCarrier waits until the kernel has noticed that the device has a
// carrier. Its link watch may take a second for that (net/core/link_watch.c),
// in which packets are dropped and IPv6 is not ready; asking for the device
// hurries it in kernels that synchronise the two.
func (e End) awaitCarrier() error {
	deadline := time.NewTimer(carrierTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		link, err := e.Host.nl.LinkByName(e.Dev)
		if err != nil {
			return fmt.Errorf("carrier of %s of %q: %w", e.Dev, e.Host.name, err)
		}
		// A TUN device, which has no carrier of its own, stays at unknown.
		state := link.Attrs().OperState
		if state == netlink.OperUp || state == netlink.OperUnknown && link.Type() == "tuntap" {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%s of %q has no carrier after %v", e.Dev, e.Host.name, carrierTimeout)
		}
	}
}

// SetRate changes the capacity of both directions, in bit/s; 0 is unlimited.
func (k *Link) SetRate(rate uint64) error {
	if k.emulator != nil {
		return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Rate = rate })
	}
	spec := k.spec
	spec.Rate = rate
	for _, e := range []End{k.A, k.B} {
		if err := e.shape(spec, k.shaped); err != nil {
			return fmt.Errorf("set rate of %s of %q: %w", e.Dev, e.Host.name, err)
		}
	}
	k.spec, k.shaped = spec, rate != 0
	return nil
}

// Down cuts the link: both devices go down, so that both hosts notice at once.
func (k *Link) Down() error {
	if k.lost != nil {
		return nil
	}
	lost := make([]lostRoutes, 0, 2)
	for _, e := range []End{k.A, k.B} {
		routes, err := e.routes()
		if err != nil {
			return fmt.Errorf("cut link: %w", err)
		}
		lost = append(lost, lostRoutes{e, routes})
	}
	k.lost = lost
	for _, e := range []End{k.A, k.B} {
		if err := e.Host.setLink(e.Dev, false); err != nil {
			return fmt.Errorf("cut link: %w", err)
		}
	}
	if k.emulator != nil {
		k.emulator.Flush()
	}
	return nil
}

// Up restores a link that Down has cut, with the routes that the kernel
// dropped because of it, in all tables.
func (k *Link) Up() error {
	if err := k.bringUp(); err != nil {
		return fmt.Errorf("restore link: %w", err)
	}
	for _, l := range k.lost {
		if err := l.restore(); err != nil {
			return fmt.Errorf("restore link: %w", err)
		}
	}
	k.lost = nil
	return nil
}

// Counters reads how many bytes the link has carried each way. Down and Up do
// not reset them.
func (k *Link) Counters() (Counters, error) {
	if k.emulator != nil {
		aToB, bToA := k.emulator.Stats()
		return Counters{AToB: aToB.Bytes, BToA: bToA.Bytes}, nil
	}
	atA, err := k.A.received()
	if err != nil {
		return Counters{}, err
	}
	atB, err := k.B.received()
	if err != nil {
		return Counters{}, err
	}
	return Counters{AToB: atB, BToA: atA}, nil
}

func (e End) received() (uint64, error) {
	link, err := e.Host.nl.LinkByName(e.Dev)
	if err != nil {
		return 0, fmt.Errorf("counters of %s of %q: %w", e.Dev, e.Host.name, err)
	}
	return link.Attrs().Statistics.RxBytes, nil
}

// lostRoutes are the routes over a device that nobody but us puts back when it
// comes up again.
type lostRoutes struct {
	End
	routes []netlink.Route
}

// routes lists the routes over the device in all tables, except those that the
// kernel makes from addresses.
func (e End) routes() ([]netlink.Route, error) {
	link, err := e.Host.nl.LinkByName(e.Dev)
	if err != nil {
		return nil, fmt.Errorf("routes of %s of %q: %w", e.Dev, e.Host.name, err)
	}
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}
	all, err := e.Host.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	if err != nil {
		return nil, fmt.Errorf("routes of %s of %q: %w", e.Dev, e.Host.name, err)
	}
	kept := all[:0]
	for _, r := range all {
		if r.Protocol != unix.RTPROT_KERNEL {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func (l lostRoutes) restore() error {
	// On-link routes first: next hops are looked up through them.
	for _, viaGateway := range []bool{false, true} {
		for _, r := range l.routes {
			if (r.Gw != nil) != viaGateway {
				continue
			}
			// These flags report a state and are refused as input.
			r.Flags &^= unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
			if err := l.Host.nl.RouteAdd(&r); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("route %s of %q: %w", r, l.Host.name, err)
			}
		}
	}
	return nil
}
