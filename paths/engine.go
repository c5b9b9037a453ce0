// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/time/rate"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

const (
	// adoptWithin is how long an event may precede Adopt.
	adoptWithin = time.Minute
	// openWithin is how long a subflow may take to be opened: three SYNs.
	openWithin = 5 * time.Second
	// readEvery bounds how often addresses and routes are asked for, repairEvery
	// and watchEvery how often all sockets are walked. The first time waits for
	// a fifth of it, since causes seldom come alone.
	readEvery   = 50 * time.Millisecond
	repairEvery = 100 * time.Millisecond
	watchEvery  = 20 * time.Millisecond
	// pollEvery is how often bytes are counted where eBPF does not tell.
	pollEvery = 250 * time.Millisecond
	// endpointsFor is how long endpoints of the in-kernel path manager, whose
	// changes nobody tells, are taken for true.
	endpointsFor = time.Second
)

// Options of New. The zero value is the default.
type Options struct {
	// NetNS is a descriptor of the network namespace of the connections; 0 is
	// that of the process. It has to stay open until Close.
	NetNS int
	// Events are read by the engine if given, and by nobody else. Without them
	// the events of netlink are used: those tell less, and about all
	// connections of the namespace.
	Events *bpf.Events
	// Observe leaves the namespace, and with it new connections, to the
	// in-kernel path manager: managers are told nothing.
	Observe bool
	// Keep is the longest Policy.Keep that is expected. Adopt may exceed it.
	Keep time.Duration
	// OpensPerSecond limits how many subflows are opened for all connections
	// together; 0 is DefaultAllOpens. They take turns.
	OpensPerSecond float64
	// StallAfter is how long a subflow may wait for an acknowledgement while
	// another one of the connection works, until it is opened anew; 0 is
	// DefaultStallAfter. All sockets are walked three times within that.
	StallAfter time.Duration
	// Expired is called when a connection has been without subflows for its
	// Policy.Keep; last is why the last one ended. The owner closes it, and
	// says Forget. It must not block.
	Expired func(token uint32, last Cause)
	// Log gets what is not to be expected; nil is slog.Default.
	Log *slog.Logger
	// Buffer is how many bytes of netlink events the kernel keeps; 0 is 4 MiB,
	// of memory that is used only when it is needed.
	Buffer int
}

// Engine keeps the subflows of connections as their managers want them. Its
// methods may be called by several goroutines at once and do not block, save
// for those that say so.
type Engine struct {
	o      Options
	log    *slog.Logger
	client *pm.Client
	events *pm.Events
	diag   *sockdiag.Conn
	net    *network

	stop    context.CancelFunc
	running sync.WaitGroup
	done    chan struct{} // closed when the loop has ended

	mu    sync.Mutex
	calls []func() // for the loop
	wake  chan struct{}

	fromBPF chan bpf.Event
	fromPM  chan pm.Event
	changed chan struct{}

	// The rest belongs to the loop.

	conns     map[uint32]*conn
	timers    timers
	ready     []*conn // that have a subflow to open, in turn
	all       *rate.Limiter
	endpoints endpoints
	watches   []bpf.Watch
	polls     bool    // bytes are counted by this end
	gap       bool    // events were lost
	unknown   []*conn // adopted, and nothing heard of them
	watchers  map[*watcher]struct{}
	counters  Counters
	settings  settings

	readAt, repairAt, watchAt       time.Time // when to; zero is never
	lastRead, lastRepair, lastWatch time.Time
	auditAt                         time.Time // when to look for what stalls
	opening                         int       // connections for which this end opens subflows
}

// New starts an engine. Unless Options.Observe is set, connections that are
// created in the namespace from now on belong to it, those of other processes
// as well, and have no path manager until Adopt. It holds the subscription
// without which the kernel would take no joins for them.
//
// The error matches ErrUnavailable if this kernel or the privileges do not do:
// Linux 5.19 and CAP_NET_ADMIN are needed.
func New(o Options) (*Engine, error) {
	o.Buffer = cmp.Or(o.Buffer, 4<<20)
	o.StallAfter = cmp.Or(o.StallAfter, DefaultStallAfter)
	o.OpensPerSecond = cmp.Or(o.OpensPerSecond, DefaultAllOpens)
	e := &Engine{
		o: o, log: o.Log,
		done: make(chan struct{}), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		fromBPF: make(chan bpf.Event, 256), fromPM: make(chan pm.Event, 256),
		conns: make(map[uint32]*conn), watchers: make(map[*watcher]struct{}),
		all:      rate.NewLimiter(rate.Limit(o.OpensPerSecond), max(int(o.OpensPerSecond), 1)),
		counters: newCounters(),
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	if err := e.open(); err != nil {
		return nil, errors.Join(unavailable(err), e.release())
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	started := make(chan error)
	e.running.Go(func() { e.run(ctx, started) })
	if err := <-started; err != nil {
		stop()
		e.running.Wait()
		return nil, errors.Join(unavailable(err), e.release())
	}
	e.running.Go(func() { e.readPM(ctx) })
	e.running.Go(func() { e.readNetwork(ctx) })
	if o.Events != nil {
		e.running.Go(func() { e.readBPF(ctx) })
	}
	return e, nil
}

func (e *Engine) open() error {
	var err error
	if e.client, err = pm.Dial(pm.Options{NetNS: e.o.NetNS}); err != nil {
		return err
	}
	if e.events, err = pm.Subscribe(pm.Options{NetNS: e.o.NetNS, Buffer: e.o.Buffer}); err != nil {
		return err
	}
	if e.diag, err = sockdiag.Dial(e.o.NetNS); err != nil {
		return err
	}
	e.net, err = openNetwork(e.o.NetNS)
	return err
}

func (e *Engine) release() error {
	var errs []error
	if e.net != nil {
		e.net.close()
	}
	if e.diag != nil {
		errs = append(errs, e.diag.Close())
	}
	if e.events != nil {
		errs = append(errs, e.events.Close())
	}
	if e.client != nil {
		errs = append(errs, e.client.Close())
	}
	return errors.Join(errs...)
}

// Close ends the engine and puts the settings of the namespace back.
// Connections stay as they are; those that were adopted open no more subflows.
func (e *Engine) Close() error {
	e.stop()
	if e.o.Events != nil {
		e.o.Events.Interrupt()
	}
	e.net.changes.Close() // ends readNetwork
	<-e.done
	e.running.Wait()
	return errors.Join(e.release(), e.settings.restore())
}

// run is the loop.
func (e *Engine) run(ctx context.Context, started chan<- error) {
	defer close(e.done)
	if e.o.NetNS != 0 {
		// Not unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		if err := netns.Set(netns.NsHandle(e.o.NetNS)); err != nil {
			started <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
	}
	err := e.net.read()
	if err == nil && !e.o.Observe {
		err = e.settings.userspace()
	}
	if err == nil {
		err = e.settings.keep(cmp.Or(e.o.Keep, DefaultKeep))
	}
	started <- err
	if err != nil {
		return
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for w := range e.watchers {
				close(w.notices)
			}
			return
		case <-e.wake:
			for _, call := range e.take() {
				call()
			}
		case ev := <-e.fromBPF:
			e.kernelEvent(&ev)
		case ev := <-e.fromPM:
			e.netlinkEvent(ev)
		case <-e.changed:
			e.readAt = soon(e.readAt, e.lastRead, readEvery)
		case <-timer.C:
		}
		timer.Reset(time.Until(e.advance(time.Now())))
	}
}

// soon is when something costly is to be done that may have been asked for
// already, and was done last at a time.
func soon(asked, last time.Time, every time.Duration) time.Time {
	if !asked.IsZero() {
		return asked
	}
	next := time.Now().Add(every / 5)
	if earliest := last.Add(every); next.Before(earliest) {
		return earliest
	}
	return next
}

// advance does what is due and returns when the next is.
func (e *Engine) advance(now time.Time) time.Time {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	if due(e.readAt) {
		e.readAt = time.Time{}
		e.networkChanged(now)
		e.lastRead = time.Now()
	}
	if due(e.auditAt) {
		e.auditAt, e.gap, e.repairAt = time.Time{}, true, now
	}
	if e.opening > 0 && e.auditAt.IsZero() && !e.o.Observe {
		e.auditAt = now.Add(e.o.StallAfter / 3)
	}
	if due(e.repairAt) {
		e.repairAt = time.Time{}
		e.repair(now)
		e.lastRepair = time.Now()
	}
	for len(e.timers) > 0 && due(e.timers[0].next) {
		e.service(e.timers[0], now)
	}
	idle := e.openReady(now)
	if due(e.watchAt) {
		e.watchAt = time.Time{}
		e.putWatches()
		e.lastWatch = time.Now()
	}
	next := now.Add(time.Hour)
	for _, t := range []time.Time{e.readAt, e.repairAt, e.auditAt, e.watchAt, idle} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if len(e.timers) > 0 && e.timers[0].next.Before(next) {
		next = e.timers[0].next
	}
	return next
}

// schedule puts a connection where it belongs among the timers.
func (e *Engine) schedule(c *conn) {
	c.next = c.deadline()
	switch {
	case c.next.IsZero() && c.position >= 0:
		heap.Remove(&e.timers, c.position)
	case c.next.IsZero():
	case c.position >= 0:
		heap.Fix(&e.timers, c.position)
	default:
		heap.Push(&e.timers, c)
	}
}

// do has the loop call f. It reports whether there is a loop that will.
func (e *Engine) do(f func()) bool {
	select {
	case <-e.done:
		return false
	default:
	}
	e.mu.Lock()
	e.calls = append(e.calls, f)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return true
}

// ask has the loop call f and waits for it.
func (e *Engine) ask(f func()) bool {
	called := make(chan struct{})
	if !e.do(func() { f(); close(called) }) {
		return false
	}
	select {
	case <-called:
		return true
	case <-e.done:
		return false
	}
}

func (e *Engine) take() []func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}
