// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

const steeringLost = "connections cannot be steered: their schedulers, rate limits and delay thresholds stay the kernel's"

// ErrNoSubflow reports that a connection has no subflow of this process in the
// network namespace of the caller.
var ErrNoSubflow = errors.New("connection has no subflow")

// Steering decides which paths the connections of this process use. Its methods
// may be called from several goroutines at once.
type Steering struct {
	common *ebpf.Collection
	opened closers
	kick   *link.Iter
	waking sync.WaitGroup

	incoming *ringbuf.Reader
	record   ringbuf.Record
	without  map[string]error // congestion controls that cannot be wrapped
	wrapped  map[string]*ebpf.Collection

	instance string // part of the names of congestion controls

	walking sync.Mutex // through the sockets, again where it takes that

	mu         sync.Mutex
	generation uint32
}

// wrappable are the congestion controls that the programs wrap, by family.
var wrappable = [...]string{
	schedulerFamilyRENO:  "reno",
	schedulerFamilyCUBIC: "cubic",
	schedulerFamilyBBR:   "bbr",
}

func (s *Steering) describe() (program, lost string) { return schedulerProgTandemKick, steeringLost }

// load leaves out congestion controls that this kernel does not have, as long
// as there is one.
func (s *Steering) load(o Options) error {
	spec, err := loadScheduler()
	if err != nil {
		return err
	}
	common := spec.Copy()
	keep(common, func(ops bool, name string) bool { return !ops })
	if s.common, err = ebpf.NewCollection(common); err != nil {
		return err
	}
	s.opened.add(closer(s.common.Close))
	if err := s.honour(o); err != nil {
		return err
	}
	var names [schedulerFamilyFAMILIES][2][caNameSize]byte
	s.instance = fmt.Sprintf("%05x", rand.Uint32N(1<<20))
	s.without = make(map[string]error)
	s.wrapped = make(map[string]*ebpf.Collection)
	present := 0
	for family, name := range wrappable {
		if name == "" {
			continue
		}
		for variant := range names[family] {
			copy(names[family][variant][:], fmt.Sprintf("%s.%s.%d", name, s.instance, variant))
		}
		if err := s.wrap(spec.Copy(), name, names[family]); err != nil {
			s.without[name] = err
			continue
		}
		present = family
	}
	if present == 0 {
		return errors.Join(slices.Collect(maps.Values(s.without))...)
	}
	// Subflows that have one that cannot be wrapped are steered with another.
	for family, name := range wrappable {
		if s.without[name] != nil {
			names[family] = names[present]
		}
	}
	if err := s.common.Variables[schedulerVarNames].Set(names); err != nil {
		return fmt.Errorf("names of congestion controls: %w", err)
	}
	return nil
}

// honour lets peers ask, if that is wanted.
func (s *Steering) honour(o Options) error {
	if !o.Requests {
		return nil
	}
	if err := s.common.Variables[schedulerVarHonour].Set(uint32(1)); err != nil {
		return fmt.Errorf("honour requests: %w", err)
	}
	return nil
}

// wrap loads the programs around one of the kernel's congestion controls. They
// need a collection of their own, because the library tells programs for struct
// operations apart by the member alone.
func (s *Steering) wrap(spec *ebpf.CollectionSpec, name string, names [2][caNameSize]byte) error {
	keep(spec, func(ops bool, program string) bool {
		family, _, _ := strings.Cut(program, "_")
		return ops && (family == name || family == "any")
	})
	for variant := range names {
		ops := fmt.Sprintf("%s_%d", name, variant)
		if err := nameOps(spec.Maps[ops], names[variant]); err != nil {
			return err
		}
	}
	shared := make(map[string]*ebpf.Map)
	for _, m := range []string{schedulerMapPolicies, schedulerMapConnections, schedulerMapWakes, schedulerMapSubflows, schedulerMapOutgoing, schedulerMapRoutes, schedulerMapListeners} {
		shared[m] = s.common.Maps[m]
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		return err
	}
	s.opened.add(closer(c.Close))
	for variant := range names {
		l, err := link.AttachStructOps(link.StructOpsOptions{Map: c.Maps[fmt.Sprintf("%s_%d", name, variant)]})
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		s.opened.add(l)
	}
	s.wrapped[name] = c
	return nil
}

// keep reduces a collection to some of its programs and operations.
func keep(spec *ebpf.CollectionSpec, which func(ops bool, name string) bool) {
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		return !which(p.Type == ebpf.StructOps, name)
	})
	maps.DeleteFunc(spec.Maps, func(name string, m *ebpf.MapSpec) bool {
		return m.Type == ebpf.StructOpsMap && !which(true, name)
	})
}

// caNameSize is TCP_CA_NAME_MAX.
const caNameSize = 16

// nameOps names a congestion control.
func nameOps(ops *ebpf.MapSpec, name [caNameSize]byte) error {
	layout, ok := ops.Value.(*btf.Struct)
	value, raw := ops.Contents[0].Value.([]byte)
	if !ok || !raw {
		return fmt.Errorf("%s is not a congestion control", ops.Name)
	}
	for _, m := range layout.Members {
		if m.Name == "name" {
			copy(value[m.Offset.Bytes():], name[:])
			return nil
		}
	}
	return fmt.Errorf("%s has no name", ops.Name)
}

func (s *Steering) start(p *Programs) error {
	id, err := p.cgroup.id()
	if err != nil {
		return err
	}
	if err := s.common.Variables[schedulerVarCgroupId].Set(id); err != nil {
		return fmt.Errorf("id of the cgroup: %w", err)
	}
	if s.kick, err = link.AttachIter(link.IterOptions{Program: s.common.Programs[schedulerProgTandemKick]}); err != nil {
		return err
	}
	s.opened.add(s.kick)
	forget, err := link.AttachTracing(link.TracingOptions{Program: s.common.Programs[schedulerProgTandemForget]})
	if err != nil {
		return err
	}
	s.opened.add(forget)
	subflows, err := p.cgroup.attach(s.common.Programs[schedulerProgTandemSubflow])
	if err != nil {
		return err
	}
	s.opened.add(subflows)
	requests, err := p.cgroup.attach(s.common.Programs[schedulerProgTandemRequest])
	if err != nil {
		return err
	}
	s.opened.add(requests)
	if s.incoming, err = ringbuf.NewReader(s.common.Maps[schedulerMapIncoming]); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	s.opened.add(s.incoming)
	if err := s.startWaking(); err != nil {
		return err
	}
	p.mu.Lock()
	p.steering = s
	p.mu.Unlock()
	return nil
}

// startWaking begins to heed what the programs want to be woken for, in the network
// namespace of the calling thread.
func (s *Steering) startWaking() error {
	reader, err := ringbuf.NewReader(s.common.Maps[schedulerMapWakes])
	if err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	var closing atomic.Bool
	s.opened.add(closer(func() {
		// The goroutine uses the others, and asks the reader what it has, which
		// nobody may once that is closed.
		closing.Store(true)
		if reader.Flush() != nil {
			reader.Close()
		}
		s.waking.Wait()
		reader.Close()
	}))
	namespace, err := os.Open(threadNamespace)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer namespace.Close()
	entered := make(chan error)
	s.waking.Go(func() {
		// The thread ends with the goroutine, because it is not unlocked.
		runtime.LockOSThread()
		err := enter(namespace)
		entered <- err
		if err == nil {
			s.wake(reader, &closing)
		}
	})
	if err := <-entered; err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	return nil
}

// closer makes an io.Closer of functions that close something.
type closer func()

func (c closer) Close() error {
	c()
	return nil
}

func (s *Steering) close() error { return s.opened.close() }

const threadNamespace = "/proc/thread-self/ns/net"

// enter has the thread be in a network namespace. That takes CAP_SYS_ADMIN, which
// gateways do not keep, even where it is there already.
func enter(namespace *os.File) error {
	there, err := namespace.Stat()
	if err != nil {
		return err
	}
	here, err := os.Stat(threadNamespace)
	if err != nil || os.SameFile(here, there) {
		return err
	}
	return os.NewSyscallError("setns", unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET))
}

// wake kicks subflows in the thread's network namespace when the programs ask for
// it, until the reader is flushed because all is closing.
func (s *Steering) wake(asked *ringbuf.Reader, closing *atomic.Bool) {
	var record ringbuf.Record
	for !closing.Load() && asked.ReadInto(&record) == nil {
		// One walk serves all that have asked before it.
		for asked.AvailableBytes() > 0 && asked.ReadInto(&record) == nil {
		}
		s.bringInLine(0) // if it fails, the next wish tries again
	}
}

// bringInLine has all subflows of the thread's namespace do what the policies
// say, and tells how many belong to a connection.
func (s *Steering) bringInLine(token uint32) (subflows int, err error) {
	err = s.walk(func(t, _ uint32) {
		if t == token {
			subflows++
		}
	})
	return subflows, err
}

// walk has all subflows of the thread's namespace do what the policies say, and
// calls f for each that has one, with the token of its connection and the
// callback flags that it had (BPF_SOCK_OPS_…_CB_FLAG). It does so again as long as
// the programs meet subflows that they did not know beside others: which path such
// a one is depends on all of them.
func (s *Steering) walk(f func(token, hooks uint32)) error {
	s.walking.Lock()
	defer s.walking.Unlock()
	before, err := s.putOff()
	for err == nil {
		if err = s.walkOnce(f); err != nil {
			break
		}
		var after uint32
		if after, err = s.putOff(); after == before {
			break
		}
		before, f = after, func(uint32, uint32) {}
	}
	return err
}

func (s *Steering) putOff() (n uint32, err error) {
	if err = s.common.Variables[schedulerVarPutOff].Get(&n); err != nil {
		err = fmt.Errorf("subflows put off: %w", err)
	}
	return n, err
}

func (s *Steering) walkOnce(f func(token, hooks uint32)) error {
	walk, err := s.kick.Open()
	if err != nil {
		return err
	}
	walked, err := io.ReadAll(walk)
	err = errors.Join(err, walk.Close())
	for ; len(walked) >= 8; walked = walked[8:] {
		f(binary.NativeEndian.Uint32(walked), binary.NativeEndian.Uint32(walked[4:]))
	}
	return err
}
