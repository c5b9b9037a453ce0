// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Options of Open. The zero value is the default.
type Options struct {
	// SYNACKs is how many answers to connections are kept at most until they
	// are asked for; 0 is DefaultSYNACKs.
	SYNACKs uint32
	// Joins keeps data in its place that comes on a subflow which the peer opens
	// while a system call holds the connection.
	Joins bool
	// Events asks for Programs.Events. Somebody has to read them.
	Events bool
	// EventRing is how many bytes of events wait for their reader at most,
	// rounded up to a power of two; 0 is DefaultEventRing.
	EventRing uint32
	// Steering asks for Programs.Steering. Subflows are looked for in the
	// network namespace of the thread that calls Open.
	Steering bool
	// Requests lets peers that connect to this process ask for something in TCP
	// options, for Steering.Read. It has every packet from them looked at.
	Requests bool
	// Inherited takes over the cgroup of another instance, which has started this
	// process in it and will Leave it. Sockets that were inherited as well belong
	// to that cgroup, as do those which are accepted from them. Where there is no
	// such cgroup it changes nothing.
	Inherited bool
}

// Programs are running programs. All of its methods may be called from several
// goroutines at once, Events.Read excepted; none but Close after Close.
type Programs struct {
	cgroup  *cgroup
	joins   *joins
	synacks *SYNACKs
	events  *Events

	extending sync.Mutex // of who does

	mu       sync.RWMutex // of what Extend changes
	steering *Steering
	running  []concern
	missing  []error
}

// Open loads the programs, moves this process into a cgroup of its own and
// attaches them to it. To see all connections, call it before any socket is
// made. There can be one Programs in a process at a time.
//
// The error matches ErrUnavailable if the kernel or the privileges are not
// sufficient for any of them; see Missing for some. Needed are Linux 5.14, a
// cgroup2 mount, and either root or CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and a
// cgroup that may be written to.
func Open(o Options) (*Programs, error) {
	p := &Programs{}
	if err := p.open(o); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// open loads first, so that the process is not moved for nothing.
func (p *Programs) open(o Options) error {
	wanted := []concern{&SYNACKs{}}
	if o.Joins {
		wanted = append(wanted, &joins{})
	}
	if o.Events {
		wanted = append(wanted, &Events{})
	}
	if o.Steering {
		wanted = append(wanted, &Steering{})
	}
	loaded := p.each("load", wanted, func(c concern) error { return c.load(o) })
	if len(loaded) > 0 {
		var err error
		p.cgroup, err = enterCgroup(o.Inherited)
		loaded = p.each("make a cgroup for", loaded, func(concern) error { return err })
	}
	p.running = p.each("attach", loaded, func(c concern) error { return c.start(p) })
	if len(p.running) == 0 {
		return p.Missing()
	}
	return nil
}

// Extend does what Options.Steering and Options.Requests ask for later than Open,
// and before Leave. Connections that there are can be steered from then on; peers of
// those to come may ask. The error, which matches ErrUnavailable, is also in
// Missing.
func (p *Programs) Extend(o Options) error {
	p.extending.Lock()
	defer p.extending.Unlock()
	if s := p.Steering(); s != nil {
		return s.honour(o)
	}
	if !o.Steering {
		return nil
	}
	// This takes long, and who asks what there is does not wait for it.
	before := len(p.missing)
	loaded := p.each("load", []concern{&Steering{}}, func(c concern) error { return c.load(o) })
	started := p.each("attach", loaded, func(c concern) error { return c.start(p) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, started...)
	return errors.Join(p.missing[before:]...)
}

// concern is a program, or some that do one thing together.
type concern interface {
	// describe names the program and what is missing without it.
	describe() (program, lost string)
	load(Options) error
	// start attaches it to the cgroup of p, and hands it to those who use it.
	start(p *Programs) error
	// programs are those that it runs, by name.
	programs() map[string]*ebpf.Program
	// close detaches it, if it is attached, and frees everything.
	close() error
}

// closers are what a concern has opened, in that order. Links among them have
// to stay referenced: their finalizer detaches the program.
type closers []io.Closer

func (c *closers) add(o io.Closer) { *c = append(*c, o) }

func (c closers) close() error {
	var errs []error
	for _, o := range slices.Backward(c) {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

// each returns those for which f succeeds. The others are missing.
func (p *Programs) each(doing string, concerns []concern, f func(concern) error) []concern {
	var good []concern
	for _, c := range concerns {
		err := f(c)
		if err == nil {
			good = append(good, c)
			continue
		}
		program, lost := c.describe()
		err = unavailable(doing, program, lost, errors.Join(err, c.close()))
		p.mu.Lock()
		p.missing = append(p.missing, err)
		p.mu.Unlock()
	}
	return good
}

// attach is attach, with the directory of the cgroup open for as long as that
// takes.
func (c *cgroup) attach(program *ebpf.Program) (link.Link, error) {
	dir, err := c.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return attach(dir, program)
}

// attach runs a sock_ops program on the sockets of a cgroup for as long as the
// link is referenced and not closed. Kernels without links (before 5.7) are
// refused, because there a program would outlive a process that is killed.
func attach(dir *os.File, program *ebpf.Program) (link.Link, error) {
	l, err := link.AttachRawLink(link.RawLinkOptions{
		Target:  int(dir.Fd()),
		Program: program,
		Attach:  ebpf.AttachCGroupSockOps,
	})
	if err != nil {
		return nil, fmt.Errorf("link to cgroup: %w", err)
	}
	return l, nil
}

// Missing says which of the programs could not be had, and why; nil if all
// could. The error matches ErrUnavailable.
func (p *Programs) Missing() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return errors.Join(p.missing...)
}

// SYNACKs knows how servers answered. It is nil if its program is missing, and
// knows nothing then.
func (p *Programs) SYNACKs() *SYNACKs { return p.synacks }

// Events tells the life of connections. It is nil if not asked for, or if its
// programs are missing.
func (p *Programs) Events() *Events { return p.events }

// Steering decides which paths connections use. It is nil as long as it was not
// asked for, or if its programs are missing.
func (p *Programs) Steering() *Steering {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.steering
}

// Leave leaves the cgroup to another instance that has inherited it: Close only
// detaches the programs.
func (p *Programs) Leave() { p.cgroup = nil }

// Close detaches the programs, moves this process and its children back to
// where it was before Open, and removes the cgroup. Open connections go on. A
// second Close does nothing.
func (p *Programs) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.running {
		errs = append(errs, c.close())
	}
	if p.cgroup != nil {
		errs = append(errs, p.cgroup.leave())
	}
	p.running, p.cgroup = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close eBPF programs: %w", err)
	}
	return nil
}
