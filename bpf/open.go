// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Options of Open. The zero value is the default.
type Options struct {
	// SYNACKs is how many answers to connections are kept at most until they
	// are asked for; 0 is DefaultSYNACKs.
	SYNACKs uint32
}

// Programs are running programs. All of its methods may be called from several
// goroutines at once, but none after Close.
type Programs struct {
	cgroup  *cgroup
	synacks *SYNACKs
	// links have to stay referenced: their finalizer detaches the program.
	links []link.Link
}

// Open loads the programs, moves this process into a cgroup of its own and
// attaches them to it. To see all connections, call it before any socket is
// made. There can be one Programs in a process at a time.
//
// The error matches ErrUnavailable if the kernel or the privileges are not
// sufficient: needed are Linux 5.14, a cgroup2 mount, and either root or
// CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and a cgroup that may be written to.
func Open(o Options) (*Programs, error) {
	p := &Programs{}
	if err := p.open(o); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// open loads first, so that the process is not moved for nothing.
func (p *Programs) open(o Options) error {
	synack, err := p.loadSYNACKs(o.SYNACKs)
	if err != nil {
		return unavailable("load", synackProgTandemSynack, synackLost, err)
	}
	defer synack.Close()
	if p.cgroup, err = enterCgroup(); err != nil {
		return unavailable("make a cgroup for", synackProgTandemSynack, synackLost, err)
	}
	if err := p.attach(synack); err != nil {
		return unavailable("attach", synackProgTandemSynack, synackLost, err)
	}
	return nil
}

// attach runs a sock_ops program on the sockets of the cgroup. The link keeps
// the program alive. Kernels without links (before 5.7) are refused, because
// there a program would outlive a process that is killed.
func (p *Programs) attach(program *ebpf.Program) error {
	dir, err := os.Open(p.cgroup.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	l, err := link.AttachRawLink(link.RawLinkOptions{
		Target:  int(dir.Fd()),
		Program: program,
		Attach:  ebpf.AttachCGroupSockOps,
	})
	if err != nil {
		return fmt.Errorf("link to cgroup: %w", err)
	}
	p.links = append(p.links, l)
	return nil
}

// SYNACKs knows how servers answered.
func (p *Programs) SYNACKs() *SYNACKs { return p.synacks }

// Close detaches the programs, moves this process and its children back to
// where it was before Open, and removes the cgroup. Open connections go on.
func (p *Programs) Close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	if p.synacks != nil {
		errs = append(errs, p.synacks.kept.Close())
	}
	if p.cgroup != nil {
		errs = append(errs, p.cgroup.leave())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close eBPF programs: %w", err)
	}
	return nil
}
