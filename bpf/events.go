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
	waiting waiting
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
	if err := e.waiting.open(e.objects.Ring); err != nil {
		return err
	}
	e.opened.add(e.waiting.urgent)
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
	n, err := e.readAll(evs)
	e.waiting.came = n
	return n, err
}

func (e *Events) readAll(evs []Event) (int, error) {
	if err := e.read(&evs[0]); err != nil {
		return 0, err
	}
	n := 1
	for ; n < len(evs) && (e.held || e.record.Remaining > 0); n++ {
		if !e.held {
			if err := e.reader.ReadInto(&e.record); err != nil {
				return n, err
			}
		}
		if err := e.tell(&evs[n]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// read waits for an event.
func (e *Events) read(ev *Event) error {
	for s := gathering; !e.held; s = min(s+1, sleeping) {
		lost := e.Lost()
		err := e.await(s)
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
	}
	if err := e.setPatient(true); err != nil {
		return err
	}
	return e.tell(ev)
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

// next reads a record, until a deadline; zero is none. The error is
// os.ErrDeadlineExceeded then, which may be told once more later.
func (e *Events) next(deadline time.Time) error {
	e.reader.SetDeadline(deadline)
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
