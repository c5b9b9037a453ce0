// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// DefaultEventRing holds about 7,500 events.
const DefaultEventRing = 1 << 20

// coalesce is how long an event may wait for others if it comes right after
// some that were read, and coalesceMany the same if those were many. The kernel
// wakes the reader for an event only if all before it have been read, and a
// wake-up costs several times what the programs do: this bounds their number,
// and delays no event that comes alone.
const (
	coalesce     = time.Millisecond
	coalesceMany = 5 * time.Millisecond
	many         = 8
)

const eventsLost = "path managers other than that of the kernel do not learn what becomes of connections"

// Events tells the life of the MPTCP connections of this process.
type Events struct {
	objects eventsObjects
	opened  closers
	rearm   *link.Iter
	reader  *ringbuf.Reader
	record  ringbuf.Record
	held    bool   // record was read and is not told yet
	told    uint64 // lost events that were told
	came    int    // events read by the last ReadAll
}

func (e *Events) describe() (program, lost string) { return eventsProgTandemEvents, eventsLost }

func (e *Events) load(o Options) error {
	spec, err := loadEvents()
	if err != nil {
		return err
	}
	spec.Maps[eventsMapRing].MaxEntries = ringSize(o.EventRing)
	if err := spec.LoadAndAssign(&e.objects, nil); err != nil {
		return err
	}
	e.opened.add(&e.objects)
	return nil
}

// ringSize makes a size that the kernel accepts.
func ringSize(bytes uint32) uint32 {
	bytes = max(cmp.Or(bytes, DefaultEventRing), uint32(os.Getpagesize()))
	return uint32(min(1<<bits.Len32(bytes-1), 1<<31))
}

func (e *Events) start(p *Programs) error {
	id, err := p.cgroup.id()
	if err != nil {
		return err
	}
	if err := e.objects.CgroupId.Set(id); err != nil {
		return fmt.Errorf("id of the cgroup: %w", err)
	}
	if e.reader, err = ringbuf.NewReader(e.objects.Ring); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	e.opened.add(e.reader)
	if e.rearm, err = link.AttachIter(link.IterOptions{Program: e.objects.TandemWatch}); err != nil {
		return err
	}
	e.opened.add(e.rearm)
	closed, err := link.AttachTracing(link.TracingOptions{Program: e.objects.TandemClosed})
	if err != nil {
		return err
	}
	e.opened.add(closed)
	subflows, err := p.cgroup.attach(e.objects.TandemEvents)
	if err != nil {
		return err
	}
	e.opened.add(subflows)
	p.events = e
	return nil
}

func (e *Events) close() error { return e.opened.close() }

// ReadAll waits for the next event, and reads it and those right behind it into
// evs, which has room for one at least. It returns how many. The error is
// os.ErrClosed once the Programs are closed; events that came before it are
// returned beside it. It is for one goroutine.
//
// Events are in the order in which they happened. Where some did not fit into
// the ring, because they were not read fast enough, Gap is told in their place:
// a lost event is never unnoticed.
func (e *Events) ReadAll(evs []Event) (int, error) {
	err := e.read(&evs[0])
	e.came = 0
	if err != nil {
		return 0, err
	}
	for e.came = 1; e.came < len(evs) && (e.held || e.record.Remaining > 0); e.came++ {
		if !e.held {
			err = e.reader.ReadInto(&e.record)
		}
		if err == nil {
			err = e.tell(&evs[e.came])
		}
		if err != nil {
			return e.came, err
		}
	}
	return e.came, nil
}

// read waits for an event.
func (e *Events) read(ev *Event) error {
	for wait := e.held; !e.held; {
		lost := e.Lost()
		err := e.next(wait)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// The ring is empty: it was full when these were lost.
		if lost > e.told {
			e.gap(ev, lost)
			return nil
		}
		if !wait {
			e.pause()
			wait = true
		}
	}
	return e.tell(ev)
}

// pause lets events gather that come right after those of the last ReadAll.
func (e *Events) pause() {
	if e.came >= many {
		time.Sleep(coalesceMany)
		return
	}
	time.Sleep(coalesce)
}

// tell sets ev to what was read, or to the gap before that.
func (e *Events) tell(ev *Event) error {
	if len(e.record.RawSample) < int(unsafe.Sizeof(eventsEvent{})) {
		return fmt.Errorf("event of %d bytes", len(e.record.RawSample))
	}
	if raw := e.raw(); !e.held && raw.Lost > e.told {
		e.held = true
		e.gap(ev, raw.Lost)
		return nil
	}
	e.held = false
	ev.set(e.raw())
	return nil
}

// ErrInterrupted is what ReadAll returns after Interrupt.
var ErrInterrupted = ringbuf.ErrFlushed

// Interrupt ends a ReadAll that waits, or the next one that would, with
// ErrInterrupted. Reading may go on afterwards. It may be called while ReadAll is.
func (e *Events) Interrupt() error { return e.reader.Flush() }

// next reads a record. If it is not to wait the error is
// os.ErrDeadlineExceeded when there is none. That may be told once more later.
func (e *Events) next(wait bool) error {
	if !wait {
		e.reader.SetDeadline(time.Unix(0, 1))
		defer e.reader.SetDeadline(time.Time{})
	}
	return e.reader.ReadInto(&e.record)
}

func (e *Events) raw() *eventsEvent {
	return (*eventsEvent)(unsafe.Pointer(unsafe.SliceData(e.record.RawSample)))
}

func (e *Events) gap(ev *Event, lost uint64) {
	*ev = Event{Kind: Gap, Lost: lost - e.told}
	e.told = lost
}

// Lost is how many events did not fit into the ring since Open.
func (e *Events) Lost() uint64 {
	var n uint64
	if err := e.objects.Lost.Get(&n); err != nil {
		return 0
	}
	return n
}
