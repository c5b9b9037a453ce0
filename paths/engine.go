// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

const (
	// adoptWithin is how long an event may precede Adopt.
	adoptWithin = time.Minute
	// knownWithin is how much earlier than that an event of netlink may come. Those
	// that come later are about a connection that has ended.
	knownWithin = 5 * time.Second
	// openWithin is how long a subflow may take to be opened: three SYNs.
	openWithin = 5 * time.Second
	// readEvery bounds how often addresses and routes are asked for, repairEvery
	// and watchEvery how often all sockets are walked. The first time waits for
	// a fifth of it, since causes seldom come alone.
	readEvery   = 50 * time.Millisecond
	repairEvery = 100 * time.Millisecond
	watchEvery  = 20 * time.Millisecond
	// knowWithin is how long the event of a new connection may take.
	knowWithin = 200 * time.Millisecond
	// tellWithin is how much later than the end of a subflow its event may come.
	tellWithin = 100 * time.Millisecond
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
	// in-kernel path manager: managers are told nothing, until Manage, and
	// connections without subflows are left to the kernel as well.
	Observe bool
	// State is a file that keeps the settings of the namespace from before, so
	// that the next New, or Recover, can put them back if this process is
	// killed. Empty is none.
	State string
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

	now func() time.Time // nil is time.Now
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

	mu      sync.Mutex
	calls   []call // for the loop
	made    []call // room for calls
	wake    chan struct{}
	later   *time.Timer   // wakes it
	laterAt time.Time     // when it does; zero is not at all
	within  time.Duration // how long that was to wait

	fromBPF chan []bpf.Event
	fromPM  chan pm.Event
	changed chan struct{}

	// The rest belongs to the loop.

	conns     map[uint32]*conn
	ending    map[uint32]int // of the calls that are taken, those that forget a connection, by token
	timers    timers
	ready     []*conn // that have a subflow to open, in turn
	all       *rate.Limiter
	endpoints endpoints
	watches   []bpf.Watch
	polls     bool     // bytes are counted by this end
	gap       bool     // events were lost
	unknown   []uint32 // adopted before the last time, and nothing was heard of them
	recent    []uint32 // the same, adopted since the last time
	free      []*conn  // room for connections
	listens   bool     // for when connections may have more subflows
	watchers  map[*watcher]struct{}
	counters  Counters // but for what tallies has
	tallies   tallies
	settings  settings

	readAt, repairAt, watchAt       time.Time // when to; zero is never
	knowAt                          time.Time // when to ask for those that are unknown
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
	e := newEngine(o)
	if err := e.open(); err != nil {
		return nil, errors.Join(unavailable(err), e.settings.restore(), e.release())
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.running.Go(func() { e.run(ctx) })
	e.running.Go(func() { e.readPM(ctx) })
	e.running.Go(func() { e.readNetwork(ctx) })
	if o.Events != nil {
		e.running.Go(func() { e.readBPF(ctx) })
	}
	return e, nil
}

// newEngine makes one that does not run and has nothing open.
func newEngine(o Options) *Engine {
	o.Buffer = cmp.Or(o.Buffer, 4<<20)
	o.StallAfter = cmp.Or(o.StallAfter, DefaultStallAfter)
	o.OpensPerSecond = cmp.Or(o.OpensPerSecond, DefaultAllOpens)
	if o.now == nil {
		o.now = time.Now
	}
	e := &Engine{
		o: o, log: o.Log,
		done: make(chan struct{}), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		fromBPF: make(chan []bpf.Event), fromPM: make(chan pm.Event, 256),
		conns: make(map[uint32]*conn), ending: make(map[uint32]int), watchers: make(map[*watcher]struct{}),
		all:      rate.NewLimiter(rate.Limit(o.OpensPerSecond), max(int(o.OpensPerSecond), 1)),
		counters: Counters{Refused: make(map[unix.Errno]uint64)},
	}
	e.later = time.AfterFunc(time.Hour, e.signal)
	e.later.Stop()
	if e.log == nil {
		e.log = slog.Default()
	}
	return e
}

func (e *Engine) open() error {
	var err error
	if e.client, err = pm.Dial(pm.Options{NetNS: e.o.NetNS}); err != nil {
		return err
	}
	if e.events, err = pm.Subscribe(pm.Options{NetNS: e.o.NetNS, Buffer: e.o.Buffer}); err != nil {
		return err
	}
	if e.o.Events != nil {
		e.listen(pm.Announced{}, pm.Removed{}, pm.SubflowPriority{})
	}
	if e.diag, err = sockdiag.Dial(e.o.NetNS); err != nil {
		return err
	}
	if e.net, err = openNetwork(e.o.NetNS); err != nil {
		return err
	}
	if err := e.net.read(); err != nil {
		return err
	}
	return inside(e.o.NetNS, func() error {
		if err := e.settings.open(e.o.State); err != nil {
			return err
		}
		if e.o.Observe {
			return nil
		}
		return e.settings.manage(cmp.Or(e.o.Keep, DefaultKeep))
	})
}

// inside calls f on a thread in a network namespace; 0 is that of the process.
func inside(netNS int, f func() error) error {
	if netNS == 0 {
		return f()
	}
	result := make(chan error)
	go func() {
		// Not unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		err := netns.Set(netns.NsHandle(netNS))
		if err == nil {
			err = f()
		} else {
			err = fmt.Errorf("enter network namespace: %w", err)
		}
		result <- err
	}()
	return <-result
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
	e.running.Wait()
	e.later.Stop()
	return errors.Join(e.release(), e.settings.restore())
}
