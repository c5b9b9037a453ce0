// SPDX-License-Identifier: Apache-2.0

// Package tuning says options of connections in the terms of the eBPF programs
// that put them into force. Neither package options nor package bpf knows of the
// other.
package tuning

import (
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
)

var schedulers = map[options.Mode]bpf.Scheduler{
	options.ModeDefault: bpf.Default, options.ModePrimary: bpf.Primary, options.ModeSmallestDelay: bpf.SmallestDelay,
	options.ModeRoundRobin: bpf.RoundRobin, options.ModeServer: bpf.Server, options.ModeOverflow: bpf.Overflow,
	options.ModeWeighted: bpf.Weighted, options.ModeAuto: bpf.Auto,
}

var subflowOptions = map[options.Option]bpf.SubflowOption{
	options.InitialWindow: bpf.InitialWindow, options.UserTimeout: bpf.UserTimeout, options.DelayedACK: bpf.DelayedACK,
}

// SubflowOptionOf is the option of subflows that puts an option into force; 0 if it
// is something else that does.
func SubflowOptionOf(o options.Option) bpf.SubflowOption { return subflowOptions[o] }

// PolicyOf is a set of options as the programs know it: with a user timeout of
// which the peer is told. Without delayed-ack,
// which is a share of an RTT that has to be measured, and without options that
// no program has a part in, such as inactivity-timeout; a scheduler that no program has is
// the kernel's.
func PolicyOf(s options.Set) (p bpf.Policy) {
	for o, v := range s.All() {
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
		case options.InitialWindow:
			p.InitialWindow = v.InitialWindow()
		case options.UserTimeout:
			p.UserTimeout, p.AdvertiseUserTimeout = v.UserTimeout(), true
		}
	}
	return p
}
