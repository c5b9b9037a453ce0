// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

const joinsLost = "the kernel may put the first data of a subflow that a client opens at the wrong place of the stream"

// lowWater is the function of the kernel that came with what Joins needs: that a
// connection sets the low-water mark of a subflow back when it takes it up.
const lowWater = "mptcp_set_rcvlowat"

// errNoLowWater: a mark that is never set back would stop the subflow.
var errNoLowWater = errors.New("needs Linux 6.8")

// Joins keeps data of the connections of this process in its place that comes on a
// subflow which the peer opens while a system call holds the connection (seen to
// be put elsewhere by Linux 6.18).
type Joins struct {
	objects joinsObjects
	opened  closers
}

func (j *Joins) describe() (program, lost string) { return joinsProgTandemJoin, joinsLost }

func (j *Joins) load(Options) error {
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

func (j *Joins) start(p *Programs) error {
	l, err := p.cgroup.attach(j.objects.TandemJoin)
	if err != nil {
		return err
	}
	j.opened.add(l)
	p.joins = j
	return nil
}

func (j *Joins) programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{joinsProgTandemJoin: j.objects.TandemJoin}
}

func (j *Joins) close() error { return j.opened.close() }

// Held is how many subflows were opened by peers since Open while a system call
// held their connection.
func (j *Joins) Held() (uint64, error) {
	var n uint64
	err := j.objects.Held.Get(&n)
	return n, err
}
