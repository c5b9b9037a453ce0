// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// Network is a lab built from a file. The caller closes it.
type Network struct {
	*lab.Lab
	File  *File
	Hosts map[string]*lab.Host
	Links map[string]*lab.Link

	mu sync.Mutex // orders changes
}

// Build makes the hosts and links of a file. All links are emulated, so that
// all their properties can be changed.
func (f *File) Build(name string) (*Network, error) {
	l, err := lab.New(name)
	if err != nil {
		return nil, err
	}
	n := &Network{Lab: l, File: f, Hosts: map[string]*lab.Host{}, Links: map[string]*lab.Link{}}
	if err := n.build(); err != nil {
		l.Close()
		return nil, fmt.Errorf("lab %q: %w", name, err)
	}
	return n, nil
}

func (n *Network) build() (err error) {
	hosts := slices.Sorted(maps.Keys(n.File.Hosts))
	for _, name := range hosts {
		if n.Hosts[name], err = n.Host(name); err != nil {
			return err
		}
		if err := n.File.Hosts[name].prepare(n.Hosts[name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.File.Links)) {
		if err := n.link(name, n.File.Links[name]); err != nil {
			return err
		}
	}
	for _, name := range hosts {
		if err := n.File.Hosts[name].route(n.Hosts[name]); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) link(name string, k *Link) (err error) {
	forth, back, err := k.conditions()
	if err != nil {
		return err
	}
	n.Links[name], err = n.Lab.Link(n.Hosts[k.A.Host], n.Hosts[k.B.Host], name, name, k.A.Addresses, k.B.Addresses,
		lab.LinkSpec{
			Emulate: true, MTU: k.MTU, Seed: k.Seed, Rate: forth.Rate, Queue: forth.Queue.Bytes, QueuePackets: forth.Queue.Packets,
			Delay: forth.Delay, Jitter: forth.Jitter, Loss: forth.Loss, Reorder: forth.Reorder, Back: &back,
		})
	return err
}

// mptcpLimit is the most that the kernel allows.
const mptcpLimit = 8

func (h *Host) prepare(to *lab.Host) error {
	for _, a := range h.Addresses {
		if err := to.AddAddress("lo", a); err != nil {
			return err
		}
	}
	if err := to.MPTCPLimits(mptcpLimit, mptcpLimit); err != nil {
		return err
	}
	return to.Forwarding(h.Forward)
}

func (h *Host) route(to *lab.Host) error {
	for _, r := range h.Routes {
		dst := r.To.Prefix
		if !dst.IsValid() {
			zero := netip.IPv4Unspecified()
			if r.Via.Is6() {
				zero = netip.IPv6Unspecified()
			}
			dst = netip.PrefixFrom(zero, 0)
		}
		if err := to.AddRoute(lab.Route{Dst: dst, Via: r.Via, Dev: r.Dev, Table: r.Table, Metric: r.Metric}); err != nil {
			return err
		}
	}
	for _, r := range h.Rules {
		if err := to.AddRule(r.From, r.Table); err != nil {
			return err
		}
	}
	for _, e := range h.Endpoints {
		if err := to.Endpoint(e.Address, e.Dev, e.Flags...); err != nil {
			return err
		}
	}
	return h.masquerade(to)
}

func (h *Host) masquerade(to *lab.Host) error {
	if len(h.Masquerade) == 0 {
		return nil
	}
	var rules strings.Builder
	rules.WriteString("table ip lab {\n chain nat {\n  type nat hook postrouting priority srcnat\n")
	for _, dev := range h.Masquerade {
		fmt.Fprintf(&rules, "  oifname %q masquerade\n", dev)
	}
	rules.WriteString(" }\n}\n")
	p := to.Command(context.Background(), "nft", "-f", "-")
	p.Stdin = strings.NewReader(rules.String())
	var out bytes.Buffer
	p.Stderr = &out
	if err := p.Run(); err != nil {
		return fmt.Errorf("nat on %q: %w: %s", to.Name(), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// Set makes one change, such as "wifi.delay=200ms", "wifi.back.loss=2%" or
// "wifi.up=false".
func (n *Network) Set(setting string) error {
	c, err := n.File.parse(setting)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.Links[c.link]
	if c.property == "up" {
		up, err := strconv.ParseBool(c.value)
		if err != nil {
			return err
		}
		return k.SetUp(up)
	}
	return k.Change(c.which, func(cond *emulator.Conditions) {
		// The text has been read once already by parse.
		_ = setProperty(cond, c.property, c.value)
	})
}
