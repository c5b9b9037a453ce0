// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"fmt"
	"math"
)

// Need is what a number of subscribers need in the busiest hour.
type Need struct {
	Subscribers float64 `json:"subscribers"`
	// Bits per second that are carried, counted once.
	Bits float64 `json:"bits_per_s"`
	// Connections are new ones per second.
	Connections float64 `json:"connections_per_s"`
	// Tunnels are connections at the same time, idle and busy.
	Tunnels float64 `json:"tunnels"`
	// Cores that are busy, without head room, and what with.
	Cores           float64 `json:"cores"`
	CoresForBytes   float64 `json:"cores_for_bytes"`
	CoresForOpening float64 `json:"cores_for_opening"`
	CoresForIdling  float64 `json:"cores_for_idling"`
	// Memory in bytes, without head room, and what for.
	Memory           float64 `json:"memory_bytes"`
	MemoryForTunnels float64 `json:"memory_for_tunnels_bytes"`
	MemoryInFlight   float64 `json:"memory_in_flight_bytes"`
}

// Resource is what a machine runs out of.
type Resource string

// The resources.
const (
	CPU    Resource = "CPU"
	Memory Resource = "memory"
	Link   Resource = "link"
)

// Core is what one core does if it does nothing else, without head room.
type Core struct {
	Bits        float64 `json:"bits_per_s"`
	Connections float64 `json:"connections_per_s"`
	// Subscribers whose whole load it carries in the busiest hour.
	Subscribers float64 `json:"subscribers"`
	// MemoryBytes that these need.
	MemoryBytes float64 `json:"memory_bytes"`
}

// Machine is what one machine carries with its head room.
type Machine struct {
	Need
	// Limits are the subscribers for which each resource is enough; Binds is
	// the least of them.
	Limits map[Resource]float64 `json:"limits"`
	Binds  Resource             `json:"binds"`
}

// Region is what all subscribers need.
type Region struct {
	Need
	Machines int `json:"machines"`
}

// Plan is the answer of the model.
type Plan struct {
	Costs       Costs       `json:"costs"`
	Assumptions Assumptions `json:"assumptions"`
	Core        Core        `json:"core"`
	Machine     Machine     `json:"machine"`
	Region      Region      `json:"region"`
}

// resources in the order in which one binds among equals.
var resources = []Resource{CPU, Memory, Link}

// New works out what is needed. Errors wrap [ErrUnusable] or [ErrAssumption].
func New(c Costs, a Assumptions) (*Plan, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	one := need(&c, &a, 1)
	p := &Plan{Costs: c, Assumptions: a}
	p.Core = Core{Bits: 8e9 / c.GigabyteCPU, Connections: 1 / c.ConnectionCPU, Subscribers: fit(1, one.Cores)}
	p.Core.MemoryBytes = p.Core.Subscribers * one.Memory
	usable := 1 - a.HeadRoom
	p.Machine.Limits = map[Resource]float64{
		CPU:    math.Floor(fit(a.Cores*usable, one.Cores)),
		Memory: math.Floor(fit(max((a.Memory-a.Reserved)*usable-c.Base, 0), one.Memory)),
		Link:   math.Floor(fit(a.Link*usable, one.Bits)),
	}
	p.Machine.Binds = CPU
	for _, r := range resources {
		if p.Machine.Limits[r] < p.Machine.Limits[p.Machine.Binds] {
			p.Machine.Binds = r
		}
	}
	most := p.Machine.Limits[p.Machine.Binds]
	if most < 1 {
		return nil, fmt.Errorf("a machine without %s for a single subscriber is %w", p.Machine.Binds, ErrAssumption)
	}
	p.Machine.Need = need(&c, &a, min(most, a.Subscribers))
	p.Region = Region{Need: need(&c, &a, a.Subscribers), Machines: int(math.Ceil(a.Subscribers / most))}
	return p, nil
}

// unlimited is for how many subscribers a resource is enough that they do not
// need: JSON has no infinity.
const unlimited = 1e12

// fit is how many times a need fits into what there is.
func fit(there, need float64) float64 {
	if need <= 0 {
		return unlimited
	}
	return min(there/need, unlimited)
}

// need is what some subscribers need.
func need(c *Costs, a *Assumptions, subscribers float64) Need {
	active := subscribers * a.Active
	n := Need{Subscribers: subscribers, Bits: active * a.Mbit * 1e6, Connections: active * a.Connections / 3600}
	// By Little's law, as many connections live as are opened in a lifetime.
	n.Tunnels = subscribers*a.Tunnels + n.Connections*a.Lifetime.Seconds()
	n.CoresForBytes = n.Bits / 8e9 * c.GigabyteCPU
	n.CoresForOpening = n.Connections * c.ConnectionCPU
	n.CoresForIdling = n.Tunnels * c.TunnelCPU
	n.Cores = n.CoresForBytes + n.CoresForOpening + n.CoresForIdling
	n.MemoryForTunnels = n.Tunnels * (c.TunnelUser + c.TunnelKernel)
	n.MemoryInFlight = n.Bits / 8 * a.RoundTrip.Seconds()
	n.Memory = n.MemoryForTunnels + n.MemoryInFlight
	return n
}
