// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/redundant"
)

// legKeeper keeps a leg of a stream on each path.
type legKeeper struct {
	hop      *redundantHop
	stream   *redundant.Stream
	instance atomic.Uint64 // of the stream at the converter; 0: no leg was heard
	told     chan error    // how the first leg of each path fared
	left     chan Path     // no leg is kept there any more
}

// run keeps the legs until the stream ends. It ends the stream itself when no
// path has brought a leg at first, so that the client can go another way.
func (k *legKeeper) run() {
	var running sync.WaitGroup
	defer running.Wait()
	again := time.NewTicker(pathsAgain)
	defer again.Stop()
	kept := map[Path]bool{}
	waiting, carried := 0, false
	var failure error
	for {
		for _, p := range k.hop.o.Paths() {
			if !kept[p] && len(kept) < maxFree && p.leadsTo(k.hop.addr.Addr()) {
				kept[p] = true
				waiting++
				running.Go(func() { k.keep(p) })
			}
		}
		if waiting == 0 && !carried {
			if failure == nil {
				failure = fmt.Errorf("%w: %w", errUnasked, errNoPath)
			}
			k.stream.Abort(fmt.Errorf("%s: %w", k.hop.Name(), failure))
			return
		}
		select {
		case <-k.stream.Done():
			return
		case err := <-k.told:
			waiting--
			if err == nil {
				carried = true
			} else {
				failure = worse(failure, err)
			}
		case p := <-k.left:
			delete(kept, p)
		case <-again.C:
		}
	}
}

// leadsTo reports whether an address can be reached from the one of the path.
func (p Path) leadsTo(remote netip.Addr) bool {
	return !p.Local.IsValid() || p.Local.Is4() == remote.Unmap().Is4()
}

// isUnknown reports whether the converter does not know legs.
func isUnknown(err error) bool {
	var answered *converter.Error
	return errors.Is(err, converter.ErrIncompatible) ||
		errors.As(err, &answered) && answered.Code == wire.UnsupportedMessage
}

// isForgotten reports whether the converter does not know the stream.
func isForgotten(err error) bool {
	var answered *converter.Error
	return errors.As(err, &answered) && answered.Code == wire.ConnectionReset
}

// worse is what tells of two failures: errUnasked only if both are.
func worse(a, b error) error {
	if !isUnasked(b) {
		return b
	}
	if a == nil || errors.Is(a, errUnasked) && isUnknown(b) {
		return fmt.Errorf("%w: %w", errUnasked, b)
	}
	return a
}

// isUnasked reports whether the converter cannot have looked at what a leg
// brought.
func isUnasked(err error) bool {
	for _, e := range []error{unix.ECONNREFUSED, unix.ENETUNREACH, unix.ENODEV, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return isUnknown(err)
}

// keep has a leg on a path whenever that is possible, for as long as the path is
// one.
func (k *legKeeper) keep(p Path) {
	log := k.hop.o.Log.With("upstream", k.hop.ConvertHop.Name(), "path", p.String())
	first, pause := true, legRetry
	tell := func(err error) {
		if first {
			first = false
			offer(k, k.told, err)
		}
	}
	x := k.request(p)
	for {
		leg, err := k.join(p, x)
		if err == nil {
			select {
			case <-leg.Heard():
				log.Debug("a leg is up")
				tell(nil)
				pause = legRetry
			case <-leg.Gone():
			}
			<-leg.Gone()
			err = leg.Err()
		}
		if errors.Is(err, converter.ErrRetry) {
			continue // with a cookie
		}
		unknown := isUnknown(err)
		if unknown {
			k.hop.refused(err)
		}
		if k.instance.Load() != 0 && (unknown || isForgotten(err)) {
			k.stream.AbortBare(fmt.Errorf("%s: %w: %w", k.hop.Name(), redundant.ErrUnknown, err))
		}
		tell(err)
		if unknown {
			return
		}
		select {
		case <-k.stream.Done():
			return
		default:
			log.Debug("a leg is down", "err", err)
		}
		select {
		case <-k.stream.Done():
			return
		case <-time.After(pause):
		}
		if !slices.Contains(k.hop.o.Paths(), p) {
			offer(k, k.left, p)
			return
		}
		pause = min(2*pause, maxLegRetry)
		x = k.request(p)
	}
}

// offer tells run something, if it still listens.
func offer[T any](k *legKeeper, to chan<- T, what T) {
	select {
	case to <- what:
	case <-k.stream.Done():
	}
}

// request begins one for a leg on a path.
func (k *legKeeper) request(p Path) *converter.Exchange {
	return k.hop.dialer(p).Join(wire.Redundancy{ID: k.stream.ID(), Instance: k.instance.Load()})
}

// join opens a connection on a path and makes it a leg.
func (k *legKeeper) join(p Path, x *converter.Exchange) (*redundant.Leg, error) {
	o := k.hop.o.Connect
	o.Mode, o.FastOpen = mptcp.ModeOff, o.FastOpen && k.hop.fastOpen(time.Now())
	if p.Device != "" {
		o.Socket.Device = p.Device
	}
	if p.Local.IsValid() {
		o.Local = netip.AddrPortFrom(p.Local, 0)
	}
	request := x.AppendRequest(nil, time.Now())
	fd, sent, err := mptcp.StartConnect(k.hop.addr, request, o)
	if err != nil {
		return nil, err
	}
	leg, err := k.stream.Join(fd, redundant.LegOptions{Say: request[sent:], Hear: func(in []byte) (int, error) {
		answer, n, err := x.Read(in, time.Now())
		switch {
		case errors.Is(err, wire.ErrShort):
			return 0, redundant.ErrShort
		case err != nil:
			return 0, err
		}
		return n, k.accepted(&answer)
	}})
	if err != nil {
		unix.Close(fd)
	}
	return leg, err
}

// accepted looks whether an answer is that of the stream that the first leg has
// begun.
func (k *legKeeper) accepted(a *converter.Answer) error {
	instance, err := a.Accepted(k.stream.ID())
	if err == nil && !k.instance.CompareAndSwap(0, instance) && k.instance.Load() != instance {
		return errOtherInstance
	}
	return err
}
