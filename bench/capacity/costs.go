// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
)

// CurveID is the experiment whose results [FromResults] reads. Its arms are
// numbers of connections.
const CurveID = "capacity-curve"

// Metrics of that experiment.
const (
	Throughput       = "throughput"         // Gbit/s on all connections at once
	CPUPerGB         = "CPU per GB"         // s
	NewConnections   = "new connections"    // per second, beside as many idle ones
	CPUPerConnection = "CPU per connection" // µs
	UserMemory       = "user memory"        // MB, above BaseMemory, all of them idle
	KernelMemory     = "kernel memory"      // MB, all of them idle
	IdleCPU          = "idle CPU"           // ms/s, all of them idle
	BaseMemory       = "base memory"        // MB, without connections
)

// Costs are what Tandem needs, as measured.
type Costs struct {
	// Origin says where the figures come from.
	Origin string `json:"origin"`
	// About is the machine, kernel and commit that they were measured on.
	About string `json:"about"`
	// Connections is how many there were at the same time, Busy how many carried
	// the gigabyte together: the more, the less there is to carry on each at a
	// time.
	Connections int `json:"connections"`
	Busy        int `json:"busy_connections"`
	// ConnectionCPU is CPU seconds for a new connection with its end.
	ConnectionCPU float64 `json:"connection_cpu_s"`
	// GigabyteCPU is CPU seconds for 10⁹ bytes that are carried.
	GigabyteCPU float64 `json:"gigabyte_cpu_s"`
	// TunnelUser and TunnelKernel are bytes of memory of a connection that does
	// nothing, of Tandem and of the kernel for Tandem's sockets.
	TunnelUser   float64 `json:"tunnel_user_bytes"`
	TunnelKernel float64 `json:"tunnel_kernel_bytes"`
	// TunnelCPU is CPU seconds per second for it.
	TunnelCPU float64 `json:"tunnel_cpu"`
	// Base is bytes of memory of Tandem without connections.
	Base float64 `json:"base_bytes"`
}

var (
	// ErrNoCurve tells that results lack the experiment.
	ErrNoCurve = errors.New("no results of " + CurveID)
	// ErrUnusable tells that costs are missing or make no sense.
	ErrUnusable = errors.New("unusable costs")
)

// FromResults takes the costs at the largest number of connections that
// [CurveID] has measured; that of a gigabyte at busy connections, unless that
// is 0. Errors wrap [ErrNoCurve] or [ErrUnusable].
func FromResults(r *experiment.Results, origin string, busy int) (Costs, error) {
	for _, o := range r.Outcomes {
		if o.ID != CurveID {
			continue
		}
		if why := o.Failed(); why != "" {
			return Costs{}, fmt.Errorf("%w: it has failed: %s", ErrNoCurve, why)
		}
		c := Costs{Origin: origin, About: r.About.String()}
		most := ""
		for _, x := range o.Repetitions {
			if n, err := strconv.Atoi(x.Arm); err == nil && n > c.Connections {
				c.Connections, most = n, x.Arm
			}
		}
		if c.Busy = busy; busy == 0 {
			c.Busy = c.Connections
		}
		if c.GigabyteCPU = figure.Median(o.Values(strconv.Itoa(c.Busy), CPUPerGB)); math.IsNaN(c.GigabyteCPU) {
			return c, fmt.Errorf("%w with %d connections", ErrNoCurve, c.Busy)
		}
		median := func(metric string) float64 { return figure.Median(o.Values(most, metric)) }
		n := float64(c.Connections)
		c.ConnectionCPU = median(CPUPerConnection) / 1e6
		c.TunnelUser, c.TunnelKernel = median(UserMemory)*1e6/n, median(KernelMemory)*1e6/n
		c.TunnelCPU, c.Base = median(IdleCPU)/1e3/n, median(BaseMemory)*1e6
		return c, c.Validate()
	}
	return Costs{}, ErrNoCurve
}

// ReadCosts reads costs from a JSON file: a [Costs], or a [Plan] that has them.
func ReadCosts(file string) (Costs, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Costs{}, err
	}
	var p struct {
		Costs
		Plan *Costs `json:"costs"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return Costs{}, fmt.Errorf("%s: %w", file, err)
	}
	c := p.Costs
	if p.Plan != nil {
		c = *p.Plan
	}
	if err := c.Validate(); err != nil {
		return Costs{}, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// Validate wants figures that a measurement can have. The error wraps
// [ErrUnusable].
func (c *Costs) Validate() error {
	for _, x := range []struct {
		name  string
		value float64
		zero  bool // may be
	}{
		{"connection_cpu_s", c.ConnectionCPU, false},
		{"gigabyte_cpu_s", c.GigabyteCPU, false},
		{"tunnel_user_bytes", c.TunnelUser, false},
		{"tunnel_kernel_bytes", c.TunnelKernel, false},
		{"tunnel_cpu", c.TunnelCPU, true},
		{"base_bytes", c.Base, true},
	} {
		// The negation also refuses what is not a number.
		if !(x.value > 0 || x.zero && x.value == 0) {
			return fmt.Errorf("%w: %s is %v", ErrUnusable, x.name, x.value)
		}
	}
	return nil
}
