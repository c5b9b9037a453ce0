// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Usage is how often a program has run and how long that took in all, which
// includes the reading of clocks for it.
type Usage struct {
	Runs uint64
	Time time.Duration
}

// Usage is what each program, by name, has done while the kernel counted it:
// with kernel.bpf_stats_enabled, or as long as somebody keeps what
// [ebpf.EnableStats] returns.
func (p *Programs) Usage() (map[string]Usage, error) {
	all := make(map[string]Usage)
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, c := range p.running {
		for name, program := range c.programs() {
			stats, err := program.Stats()
			if err != nil {
				return nil, fmt.Errorf("usage of program %s: %w", name, err)
			}
			all[name] = Usage{Runs: stats.RunCount, Time: stats.Runtime}
		}
	}
	return all, nil
}

func (s *SYNACKs) programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{synackProgTandemSynack: s.objects.TandemSynack}
}

func (e *Events) programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{
		eventsProgTandemEvents: e.objects.TandemEvents,
		eventsProgTandemClosed: e.objects.TandemClosed,
		eventsProgTandemWatch:  e.objects.TandemWatch,
	}
}

// programs has those that wrap congestion controls with the name of that, since
// some are loaded for each of them.
func (s *Steering) programs() map[string]*ebpf.Program {
	all := make(map[string]*ebpf.Program)
	for name, program := range s.common.Programs {
		all[name] = program
	}
	for family, c := range s.wrapped {
		for name, program := range c.Programs {
			all[family+":"+name] = program
		}
	}
	return all
}
