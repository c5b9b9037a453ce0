// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"github.com/tandem-gateway/tandem/subscribers"
)

const (
	// DefaultRoom is how many accounting records may wait for a server.
	DefaultRoom = 8192
	// firstPause and longestPause are between attempts while no server answers.
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// AccountingOptions are those of NewAccounting.
type AccountingOptions struct {
	Servers  []Server // at least one, the most preferred first
	Patience Patience
	Identity Identity
	Room     int          // records that may wait; 0 is DefaultRoom
	Log      *slog.Logger // nil: slog.Default
}

// Accounting tells servers of sessions, one record at a time and in their order.
// Records wait while no server answers. When there is no room, an interim record
// makes room, as the next will say what it says; else the newest record is lost
// and counted. It implements subscribers.Accountant.
type Accounting struct {
	o     AccountingOptions
	group *group

	mu      sync.Mutex
	waiting []subscribers.Event
	stats   AccountingStats
	closing bool
	more    chan struct{} // has something once there is something to do

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// AccountingStats count records.
type AccountingStats struct {
	Sent    uint64 // and answered for
	Dropped uint64 // for want of room, at the end, or because no server could take them
	Waiting int
}

// NewAccounting begins to send what it is told of. Close ends that.
func NewAccounting(o AccountingOptions) *Accounting {
	if o.Room == 0 {
		o.Room = DefaultRoom
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	a := &Accounting{o: o, group: newGroup(o.Servers, o.Patience, o.Log), more: make(chan struct{}, 1)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.running.Go(a.run)
	return a
}

// Account implements subscribers.Accountant.
func (a *Accounting) Account(e subscribers.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	isInterim := func(w subscribers.Event) bool { return w.Kind == subscribers.Interim }
	if len(a.waiting) >= a.o.Room {
		a.stats.Dropped++
		i := slices.IndexFunc(a.waiting, isInterim)
		if i < 0 || e.Kind == subscribers.Interim {
			return
		}
		a.waiting = slices.Delete(a.waiting, i, i+1)
	}
	a.waiting = append(a.waiting, e)
	a.wake()
}

func (a *Accounting) wake() {
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// Stats are counts since the start.
func (a *Accounting) Stats() AccountingStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Waiting = len(a.waiting)
	return s
}

// take takes the record that has waited longest. Without one it reports whether
// there may be another.
func (a *Accounting) take() (e subscribers.Event, found, ends bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		return e, false, a.closing
	}
	e = a.waiting[0]
	a.waiting = slices.Delete(a.waiting, 0, 1)
	return e, true, false
}

func (a *Accounting) run() {
	for {
		e, found, ends := a.take()
		switch {
		case found:
			a.count(a.deliver(&e))
			if a.ctx.Err() != nil {
				return
			}
		case ends:
			return
		default:
			select {
			case <-a.more:
			case <-a.ctx.Done():
				return
			}
		}
	}
}

// count notes what became of a record.
func (a *Accounting) count(delivered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delivered {
		a.stats.Sent++
	} else {
		a.stats.Dropped++
	}
}

// deliver sends a record until a server has taken it, and reports whether one has:
// no server ever takes some records, and time may be over.
func (a *Accounting) deliver(e *subscribers.Event) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := a.send(e)
		switch {
		case err == nil:
			return true
		case a.ctx.Err() != nil:
			return false
		case !errors.Is(err, subscribers.ErrAway):
			a.o.Log.Error("an accounting record cannot be sent", "user", e.User, "err", err)
			return false
		}
		select {
		case <-time.After(pause):
		case <-a.ctx.Done():
			return false
		}
	}
}

func (a *Accounting) send(e *subscribers.Event) error {
	_, err := a.group.exchange(a.ctx,
		func(secret []byte) (*radius.Packet, error) { return a.accountingRequest(e, secret) },
		func(_, answer *radius.Packet) error {
			if answer.Code != radius.CodeAccountingResponse {
				return fmt.Errorf("radius: answered with %v", answer.Code)
			}
			return nil
		})
	return err
}

// Close sends what waits until ctx ends, and returns how many records are lost.
func (a *Accounting) Close(ctx context.Context) uint64 {
	a.mu.Lock()
	a.closing = true
	a.wake()
	a.mu.Unlock()
	defer context.AfterFunc(ctx, a.stop)()
	a.running.Wait()
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Dropped += uint64(len(a.waiting))
	a.waiting = nil
	return a.stats.Dropped
}

var statuses = [...]rfc2866.AcctStatusType{
	subscribers.Start:   rfc2866.AcctStatusType_Value_Start,
	subscribers.Interim: rfc2866.AcctStatusType_Value_InterimUpdate,
	subscribers.Stop:    rfc2866.AcctStatusType_Value_Stop,
}

var causes = map[subscribers.Cause]rfc2866.AcctTerminateCause{
	subscribers.IdleTimeout: rfc2866.AcctTerminateCause_Value_IdleTimeout,
	subscribers.Lifetime:    rfc2866.AcctTerminateCause_Value_SessionTimeout,
	subscribers.Kicked:      rfc2866.AcctTerminateCause_Value_AdminReset,
	subscribers.Shutdown:    rfc2866.AcctTerminateCause_Value_NASReboot,
	subscribers.Logout:      rfc2866.AcctTerminateCause_Value_UserRequest,
}

// accountingRequest says what there is to say of a session. Its Authenticator is
// a hash over all of it (RFC 2866 section 3), which makes it as good as signed.
func (a *Accounting) accountingRequest(e *subscribers.Event, secret []byte) (*radius.Packet, error) {
	p := radius.New(radius.CodeAccountingRequest, secret)
	errs := []error{
		rfc2866.AcctStatusType_Set(p, statuses[e.Kind]),
		rfc2866.AcctSessionID_SetString(p, e.Session),
		rfc2865.UserName_SetString(p, e.User),
		rfc2865.NASPortType_Set(p, rfc2865.NASPortType_Value_Virtual),
		a.o.Identity.add(p),
		addressOf(p, e.Address),
		rfc2869.EventTimestamp_Set(p, e.Time),
		rfc2866.AcctDelayTime_Set(p, rfc2866.AcctDelayTime(time.Since(e.Time)/time.Second)),
	}
	for _, class := range e.Class {
		errs = append(errs, rfc2865.Class_Add(p, class))
	}
	if e.Kind != subscribers.Start {
		errs = append(errs,
			rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(e.Time.Sub(e.Start)/time.Second)),
			rfc2866.AcctInputOctets_Set(p, rfc2866.AcctInputOctets(uint32(e.Up))),
			rfc2866.AcctOutputOctets_Set(p, rfc2866.AcctOutputOctets(uint32(e.Down))),
			rfc2869.AcctInputGigawords_Set(p, rfc2869.AcctInputGigawords(e.Up>>32)),
			rfc2869.AcctOutputGigawords_Set(p, rfc2869.AcctOutputGigawords(e.Down>>32)))
		for _, n := range e.Networks {
			errs = append(errs, Add(p, AccessNetwork, fmt.Appendf(nil, "%s %d %d", n.Name, n.Up, n.Down)))
		}
	}
	if cause, known := causes[e.Cause]; known && e.Kind == subscribers.Stop {
		errs = append(errs, rfc2866.AcctTerminateCause_Set(p, cause))
	}
	return p, errors.Join(errs...)
}
