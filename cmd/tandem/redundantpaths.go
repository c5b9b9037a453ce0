// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/proxy"
)

// linksAge is how old a look at the machine's links may be.
const linksAge = 2 * time.Second

// redundant makes upstream carry everything on all paths.
func (s *setup) redundant(c *config.Upstream, upstream proxy.Upstream, hops []*proxy.ConvertHop) proxy.Upstream {
	return proxy.NewRedundant(upstream, hops, proxy.RedundantOptions{
		Paths:   legPaths(c, s.log),
		Connect: s.connectOptions(c),
		Dialer:  converter.DialerConfig{AllowLoopback: true}, // legs have no target
		Log:     s.log,
	})
}

// legPaths says where legs go: where the configuration says it, or else by the
// links that the machine has now.
func legPaths(c *config.Upstream, log *slog.Logger) func() []proxy.Path {
	names := c.Convert.RedundantPaths
	if len(names) == 0 {
		names = c.Paths.Interfaces
	}
	if len(names) == 0 {
		l := &links{log: log}
		return l.paths
	}
	var fixed []proxy.Path
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			fixed = append(fixed, proxy.Path{Local: a.Unmap()})
		} else {
			fixed = append(fixed, proxy.Path{Device: name})
		}
	}
	return func() []proxy.Path { return fixed }
}

// links are the ways out of the machine.
type links struct {
	log *slog.Logger

	mu     sync.Mutex
	looked time.Time
	known  []proxy.Path
	failed bool
}

func (l *links) paths() []proxy.Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.looked) >= linksAge {
		known, err := lookForLinks()
		if err != nil && !l.failed {
			l.log.Warn("cannot look for the paths of redundant connections; list them as redundant-paths", "err", err)
		}
		l.looked, l.known, l.failed = now, known, err != nil
	}
	return l.known
}

// lookForLinks returns the endpoints that the kernel opens subflows from, or
// the interfaces with a default route if there are none.
func lookForLinks() ([]proxy.Path, error) {
	if found := subflowEndpoints(); len(found) > 0 {
		return found, nil
	}
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, all, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var found []proxy.Path
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST || r.Dst != nil && (r.Dst.IP == nil || !r.Dst.IP.IsUnspecified()) {
			continue
		}
		hops := []int{r.LinkIndex}
		for _, n := range r.MultiPath {
			hops = append(hops, n.LinkIndex)
		}
		for _, index := range hops {
			device, err := net.InterfaceByIndex(index)
			if err != nil || device.Flags&net.FlagLoopback != 0 {
				continue
			}
			if p := (proxy.Path{Device: device.Name}); !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
	}
	return found, nil
}

// subflowEndpoints are those of the kernel's path manager, as far as they may
// be seen.
func subflowEndpoints() (found []proxy.Path) {
	c, err := pm.Dial(pm.Options{})
	if err != nil {
		return nil
	}
	defer c.Close()
	endpoints, _ := c.Endpoints()
	for _, e := range endpoints {
		if e.Flags&(pm.Subflow|pm.Fullmesh) == 0 {
			continue
		}
		p := proxy.Path{Local: e.Addr.Unmap()}
		if device, err := net.InterfaceByIndex(e.IfIndex); err == nil {
			p.Device = device.Name
		}
		found = append(found, p)
	}
	return found
}
