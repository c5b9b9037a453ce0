// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// costs are easy to reckon with, and nobody's.
var costs = Costs{
	ConnectionCPU: 100e-6, GigabyteCPU: 0.2, TunnelUser: 1000, TunnelKernel: 9000, TunnelCPU: 1e-7, Base: 1e9,
}

// assumptions of a region whose demand can be worked out by hand: 500 active
// subscribers with 8 Mbit/s and 3600 connections per hour.
var assumptions = Assumptions{
	Subscribers: 1000, Active: 0.5, Mbit: 8, Connections: 3600, Lifetime: 10 * time.Second, Tunnels: 5,
	RoundTrip: 100 * time.Millisecond, HeadRoom: 0.5, Cores: 2, Memory: 5e9, Reserved: 1e9, Link: 1e9,
}

func TestNew(t *testing.T) {
	p, err := New(costs, assumptions)
	if err != nil {
		t.Fatal(err)
	}
	// 4 Gbit/s are 0.5 GB/s at 0.2 s; 500 connections/s at 100 µs; 5000 idle and
	// 5000 busy connections at 10⁻⁷ and at 10 kB; 0.5 GB/s for 0.1 s.
	want := Plan{
		Costs: costs, Assumptions: assumptions,
		Core: Core{Bits: 40e9, Connections: 10000, Subscribers: 1000 / 0.151, MemoryBytes: 0.15e9 / 0.151},
		Machine: Machine{
			Need: Need{
				Subscribers: 125, Bits: 0.5e9, Connections: 62.5, Tunnels: 1250,
				Cores: 0.018875, CoresForBytes: 0.0125, CoresForOpening: 0.00625, CoresForIdling: 0.000125,
				Memory: 18.75e6, MemoryForTunnels: 12.5e6, MemoryInFlight: 6.25e6,
			},
			// A core of two, half of 4 GB less one for the base, half of the link.
			Limits: map[Resource]float64{CPU: 6622, Memory: 6666, Link: 125},
			Binds:  Link,
		},
		Region: Region{
			Need: Need{
				Subscribers: 1000, Bits: 4e9, Connections: 500, Tunnels: 10000,
				Cores: 0.151, CoresForBytes: 0.1, CoresForOpening: 0.05, CoresForIdling: 0.001,
				Memory: 150e6, MemoryForTunnels: 100e6, MemoryInFlight: 50e6,
			},
			Machines: 8,
		},
	}
	if diff := cmp.Diff(&want, p, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBinds changes one thing at a time.
func TestBinds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*Costs, *Assumptions)
		binds    Resource
		machines int
	}{
		{"the link", func(*Costs, *Assumptions) {}, Link, 8},
		{"a faster link: the CPU", func(_ *Costs, a *Assumptions) { a.Link = 100e9 }, CPU, 1},
		{"dear bytes", func(c *Costs, a *Assumptions) { a.Link, c.GigabyteCPU = 100e9, 20 }, CPU, 11},
		{"dear connections", func(c *Costs, a *Assumptions) { a.Link, c.ConnectionCPU = 100e9, 0.02 }, CPU, 11},
		{"dear idling", func(c *Costs, a *Assumptions) { a.Link, c.TunnelCPU = 100e9, 0.001 }, CPU, 11},
		{"many idle tunnels", func(_ *Costs, a *Assumptions) { a.Tunnels = 2000 }, Memory, 21},
		{"large tunnels", func(c *Costs, _ *Assumptions) { c.TunnelKernel = 4e6 }, Memory, 42},
		{"distant subscribers", func(_ *Costs, a *Assumptions) { a.RoundTrip = 200 * time.Second }, Memory, 112},
		{"nobody active", func(_ *Costs, a *Assumptions) { a.Active = 0 }, Memory, 1},
		{"no head room", func(_ *Costs, a *Assumptions) { a.HeadRoom = 0 }, Link, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, a := costs, assumptions
			tt.change(&c, &a)
			p, err := New(c, a)
			if err != nil {
				t.Fatal(err)
			}
			if p.Machine.Binds != tt.binds || p.Region.Machines != tt.machines {
				t.Errorf("%s binds, %d machines, want %s and %d: %v", p.Machine.Binds, p.Region.Machines, tt.binds, tt.machines, p.Machine.Limits)
			}
			if most := p.Machine.Limits[p.Machine.Binds]; p.Machine.Subscribers > most {
				t.Errorf("a machine has %v subscribers, and resources for %v", p.Machine.Subscribers, most)
			}
		})
	}
}

func TestImpossible(t *testing.T) {
	for name, change := range map[string]func(*Costs, *Assumptions){
		"no subscribers":          func(_ *Costs, a *Assumptions) { a.Subscribers = 0 },
		"more active than all":    func(_ *Costs, a *Assumptions) { a.Active = 1.1 },
		"a negative rate":         func(_ *Costs, a *Assumptions) { a.Mbit = -1 },
		"head room of everything": func(_ *Costs, a *Assumptions) { a.HeadRoom = 1 },
		"no cores":                func(_ *Costs, a *Assumptions) { a.Cores = 0 },
		"all memory reserved":     func(_ *Costs, a *Assumptions) { a.Reserved = a.Memory },
		"memory for the base":     func(_ *Costs, a *Assumptions) { a.Memory, a.Reserved = 1e9, 0 },
		"a link for nobody":       func(_ *Costs, a *Assumptions) { a.Link = 1e6 },
	} {
		c, a := costs, assumptions
		change(&c, &a)
		if p, err := New(c, a); !errors.Is(err, ErrAssumption) {
			t.Errorf("%s: %v, %+v", name, err, p)
		}
	}
	for name, change := range map[string]func(*Costs){
		"a free connection":     func(c *Costs) { c.ConnectionCPU = 0 },
		"no figure":             func(c *Costs) { c.GigabyteCPU = math.NaN() },
		"memory that is gained": func(c *Costs) { c.TunnelKernel = -1 },
		"nothing":               func(c *Costs) { *c = Costs{} },
	} {
		c := costs
		change(&c)
		if p, err := New(c, assumptions); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v, %+v", name, err, p)
		}
	}
}

func TestDefaults(t *testing.T) {
	if _, err := New(costs, Defaults()); err != nil {
		t.Error(err)
	}
}
