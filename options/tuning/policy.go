// SPDX-License-Identifier: Apache-2.0

// Package tuning says options of connections in the terms of the eBPF programs
// that put them into force. Neither package options nor package bpf knows of the
// other.
package tuning

import (
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
)

var schedulers = map[options.Mode]bpf.Scheduler{
	options.ModeDefault: bpf.Default, options.ModePrimary: bpf.Primary, options.ModeSmallestDelay: bpf.SmallestDelay,
	options.ModeRoundRobin: bpf.RoundRobin, options.ModeServer: bpf.Server, options.ModeOverflow: bpf.Overflow,
	options.ModeWeighted: bpf.Weighted, options.ModeAuto: bpf.Auto,
}

// PolicyOf is a set of options as the programs know it: with a user timeout of
// which the peer is told. Without delayed-ack, for which there is DelayACK, and
// without options that no program has a part in, such as inactivity-timeout; what no
// kernel can, such as a scheduler that no program has, is left to the kernel.
func PolicyOf(s options.Set) (p bpf.Policy) {
	for o, v := range s.All() {
		if value, err := o.OnSubflow(v); err == nil && value != 0 {
			p.Options[o] = value
		}
		switch o {
		case options.Scheduler:
			schedule := v.Schedule()
			p.Scheduler = schedulers[schedule.Mode]
			for i, w := range schedule.Weights {
				p.Paths[i].Weight = w
			}
		case options.SubflowRateLimit:
			limit := v.RateLimit()
			for i := range p.Paths {
				if limit.Unlimited || limit.Path > 0 && i != limit.Path-1 {
					continue
				}
				p.Paths[i].RateLimit, p.Paths[i].Drain = limit.Rate, limit.Rate == 0
			}
		case options.DelayThreshold:
			p.DelayThreshold = v.DelayThreshold()
		case options.CongestionControl:
			p.CongestionControl = v.CongestionControl()
		case options.UserTimeout:
			p.AdvertisedUserTimeout = v.UserTimeout()
		}
	}
	return p
}

// What the timers of the kernel can do, and TCP_DELACK_MAX of net/tcp.h.
const (
	minDelayedACK = 10 * time.Millisecond
	maxDelayedACK = 200 * time.Millisecond
)

// DelayACK adds delayed-ack to a policy: a share of the smallest RTT, as near to it
// as the kernel can.
func DelayACK(p *bpf.Policy, v options.Value, minRTT time.Duration) {
	share := time.Duration(v.Acknowledging().Share) * minRTT / 100
	p.Options[options.DelayedACK] = uint32(min(max(share, minDelayedACK), maxDelayedACK).Microseconds())
}
