// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

const joinsLost = "the kernel may put the first data of a subflow that a client opens at the wrong place of the stream"

// lowWater is the function of the kernel that came with what is needed: that a
// connection sets the low-water mark of a subflow back when it takes it up.
const lowWater = "mptcp_set_rcvlowat"

// errNoLowWater: a mark that is never set back would stop the subflow.
var errNoLowWater = errors.New("needs Linux 6.8")

// joins is what Options.Joins asks for. Linux 6.18 was seen to put such data
// elsewhere.
type joins struct {
	objects joinsObjects
	opened  closers
}

func (j *joins) describe() (program, lost string) { return joinsProgTandemJoin, joinsLost }

func (j *joins) load(Options) error {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return err
	}
	var f *btf.Func
	if err := types.TypeByName(lowWater, &f); err != nil {
		return fmt.Errorf("%w: %w", errNoLowWater, err)
	}
	if err := loadJoinsObjects(&j.objects, nil); err != nil {
		return err
	}
	j.opened.add(&j.objects)
	return nil
}

func (j *joins) start(p *Programs) error {
	l, err := p.cgroup.attach(j.objects.TandemJoin)
	if err != nil {
		return err
	}
	j.opened.add(l)
	p.joins = j
	return nil
}

func (j *joins) programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{joinsProgTandemJoin: j.objects.TandemJoin}
}

// HeldJoins counts subflows that peers opened while a system call held the
// connection, since Open.
type HeldJoins struct {
	Held    uint64 // their data was held back until the call ended
	GivenUp uint64 // of these: more came than can wait
}

// HeldJoins is nil if Options.Joins did not ask for the program, or if it is
// missing.
func (p *Programs) HeldJoins() *HeldJoins {
	if p.joins == nil {
		return nil
	}
	var n HeldJoins
	// In this order, so that never more are given up than held.
	if err := errors.Join(p.joins.objects.GivenUp.Get(&n.GivenUp), p.joins.objects.Held.Get(&n.Held)); err != nil {
		return nil
	}
	return &n
}

func (j *joins) close() error { return j.opened.close() }
