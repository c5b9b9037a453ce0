// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/telemetry/queue"
)

const (
	// DefaultRoom is how many records may wait.
	DefaultRoom = 16384
	// writeBatch records wake the writer: 96 kB.
	writeBatch = 256
	writeDelay = 500 * time.Millisecond
	warnAgain  = time.Minute
)

// Options of NewKeeper.
type Options struct {
	File  FileOptions // without a path: none
	IPFIX ExporterOptions
	Room  int          // records that may wait; 0 is DefaultRoom
	Log   *slog.Logger // nil: slog.Default
}

// Stats count records. A record that goes to a file and to a collector counts
// twice.
type Stats struct {
	Written uint64
	Dropped uint64 // there was no room to keep them until they could be written
	Failed  uint64 // could not be written
}

// entry is a record with the trace that it belongs to.
type entry struct {
	record proxy.Record
	trace  string
}

// sink is where records go.
type sink interface {
	// write writes all of some records, or tells how many it has.
	write([]entry) (int, error)
	close() error
}

// Keeper keeps records.
type Keeper struct {
	queue   *queue.Queue[entry]
	sinks   []sink
	log     *slog.Logger
	written atomic.Uint64
	failed  atomic.Uint64
	warned  time.Time

	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewKeeper opens the file. A collector is connected to when there is something
// to send.
func NewKeeper(o Options) (*Keeper, error) {
	if o.Room == 0 {
		o.Room = DefaultRoom
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	k := &Keeper{queue: queue.New[entry](o.Room, writeBatch), log: o.Log}
	if o.File.Path != "" {
		f, err := openFile(o.File)
		if err != nil {
			return nil, err
		}
		k.sinks = append(k.sinks, f)
	}
	for _, collector := range o.IPFIX.Collectors {
		k.sinks = append(k.sinks, newExporter(collector, o.IPFIX))
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.running.Go(func() { k.queue.Run(ctx, writeDelay, k.write) })
	return k, nil
}

// Keep queues a record, which it copies. It never blocks. Trace is the
// identifier of the trace that the connection has, or "". Of checks, which
// gateways make every few seconds and which lead nowhere, nothing is kept.
func (k *Keeper) Keep(r *proxy.Record, trace string) {
	if r.Command == proxy.Inform && r.Served {
		return
	}
	e := entry{*r, trace}
	if !r.Options.Empty() {
		e.record.Options = r.Options.Clone()
	}
	if r.HopChoice != nil {
		asked := *r.HopChoice
		e.record.HopChoice = &asked
	}
	k.queue.Put(&e)
	if r.Also.IsValid() { // a record of its own, as each has one address
		e.record.Local, e.record.Also, e.record.Up, e.record.Down = r.Also, netip.AddrPort{}, 0, 0
		k.queue.Put(&e)
	}
}

// Stats tells what became of the records until now.
func (k *Keeper) Stats() Stats {
	return Stats{Written: k.written.Load(), Dropped: k.queue.Dropped(), Failed: k.failed.Load()}
}

func (k *Keeper) write(batch []entry) {
	for _, s := range k.sinks {
		n, err := s.write(batch)
		k.written.Add(uint64(n))
		k.failed.Add(uint64(len(batch) - n))
		if now := time.Now(); err != nil && now.Sub(k.warned) > warnAgain {
			k.warned = now
			k.log.Warn("records of connections are lost", "err", err)
		}
	}
}

// Close writes what waits and ends.
func (k *Keeper) Close() error {
	k.stop()
	k.running.Wait()
	var errs []error
	for _, s := range k.sinks {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
