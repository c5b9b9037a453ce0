// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/redundant"
)

// legKeeper keeps a leg of a stream on each path.
type legKeeper struct {
	hop    *redundantHop
	stream *redundant.Stream
	leg    wire.Redundancy
	told   chan error // how the first leg of each path fared
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

// keep has a leg on a path whenever that is possible.
func (k *legKeeper) keep(p Path) {
	first, pause := true, legRetry
	tell := func(err error) {
		if first {
			first = false
			select {
			case k.told <- err:
			case <-k.stream.Done():
			}
		}
	}
	x := k.hop.dialer(p).Join(k.leg)
	for {
		leg, err := k.join(p, x)
		if err == nil {
			select {
			case <-leg.Heard():
				tell(nil)
				pause = legRetry
			case <-leg.Gone():
			}
			<-leg.Gone()
			err = leg.Err()
		}
		switch {
		case isUnknown(err):
			k.hop.refused(err)
			tell(err)
			return
		case errors.Is(err, converter.ErrRetry):
			continue // with a cookie
		}
		tell(err)
		select {
		case <-k.stream.Done():
			return
		default:
			k.hop.o.Log.Debug("a leg is down", "upstream", k.hop.ConvertHop.Name(), "path", p.String(), "err", err)
		}
		select {
		case <-k.stream.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxLegRetry)
		x = k.hop.dialer(p).Join(k.leg)
	}
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
	leg, err := k.stream.Join(fd, redundant.LegOptions{
		Say: request[sent:],
		Hear: func(in []byte) (int, error) {
			answer, n, err := x.Read(in, time.Now())
			switch {
			case errors.Is(err, wire.ErrShort):
				return 0, redundant.ErrShort
			case err != nil:
				return 0, err
			}
			return n, answer.Accepted(k.leg)
		},
	})
	if err != nil {
		unix.Close(fd)
	}
	return leg, err
}
