// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// OtherNetwork is the name of what belongs to no access network that is known.
const OtherNetwork = "other"

// Network is an access network as the configuration has it.
type Network struct {
	Name string
	// Prefixes of the addresses that the client's side of connections has on it:
	// at an aggregator the far end, at a home gateway this end.
	Prefixes []netip.Prefix
	// Interfaces of this machine that lead to it. Prefixes are asked first.
	Interfaces []string
}

// Networks tell access networks apart. They may be used from any goroutine.
type Networks struct {
	prefixes   bart.Table[string]
	interfaces map[string]string
	devices    devices
}

// NewNetworks takes the networks of a configuration. Devices returns the
// addresses of this machine with their interfaces.
func NewNetworks(list []Network, devices func() (map[netip.Addr]string, error)) *Networks {
	n := &Networks{interfaces: map[string]string{}}
	n.devices.read = devices
	for _, one := range list {
		for _, p := range one.Prefixes {
			n.prefixes.Insert(policy.Unmapped(p), one.Name)
		}
		for _, i := range one.Interfaces {
			n.interfaces[i] = one.Name
		}
	}
	return n
}

// Of names the access network of a flow between two addresses. Towards says that
// this end opened it, so that it is on the client's side.
func (n *Networks) Of(local, remote netip.Addr, towards bool) string {
	side := remote
	if towards {
		side = local
	}
	if name, ok := n.prefixes.Lookup(side.Unmap().WithZone("")); ok {
		return name
	}
	if len(n.interfaces) > 0 {
		if name, ok := n.interfaces[n.devices.of(local.Unmap().WithZone(""))]; ok {
			return name
		}
	}
	return OtherNetwork
}

// devices remember which interface has an address.
type devices struct {
	read func() (map[netip.Addr]string, error)

	known atomic.Pointer[map[netip.Addr]string]
	mu    sync.Mutex // of who reads anew
	when  time.Time
}

// Addresses move seldom. One that is not known is looked for at most each
// devicesAnew, and one that has moved is noticed after devicesOld.
const (
	devicesAnew = time.Second
	devicesOld  = 10 * time.Second
)

func (d *devices) of(a netip.Addr) string {
	if known := d.known.Load(); known != nil {
		if device, ok := (*known)[a]; ok && !d.older(devicesOld) {
			return device
		}
	}
	if d.older(devicesAnew) {
		d.refresh()
	}
	if known := d.known.Load(); known != nil {
		return (*known)[a]
	}
	return ""
}

func (d *devices) older(than time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.when) > than
}

func (d *devices) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.when = time.Now()
	if known, err := d.read(); err == nil {
		d.known.Store(&known)
	}
}
