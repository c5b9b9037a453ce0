// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
)

// attemptDelay is how long one address is given before the next one is tried
// beside it (RFC 8305 section 5, Connection Attempt Delay).
const attemptDelay = 250 * time.Millisecond

// race connects to the first of several addresses that answers (RFC 8305).
type race struct {
	d     *dial
	addrs []netip.AddrPort
	next  int
	live  []*attempt
	first attempt // of those that are alone, which are most
	timer event.Timer
	err   error // the most telling failure so far

	hungry bool // waits for a descriptor
}

// attempt is one connection being tried.
type attempt struct {
	race   *race
	socket event.Socket
	addr   netip.AddrPort
	mode   mptcp.Mode
	sent   int // bytes of the opening that the kernel took for the SYN
}

func (r *race) start(d *dial, addrs []netip.AddrPort) {
	r.d, r.addrs, r.next, r.err = d, addrs, 0, nil
	r.launch()
}

func (r *race) loop() *event.Loop { return r.d.s.worker.loop }

// launch starts the next attempt, and those after it while they fail at once.
func (r *race) launch() {
	r.feed()
	for r.next < len(r.addrs) {
		err := r.try(r.addrs[r.next])
		if outOfFiles(err) {
			r.note(err)
			r.starve(err)
			return
		}
		r.next++
		if err == nil {
			if r.next < len(r.addrs) {
				r.later(attemptDelay)
			}
			return
		}
		r.note(err)
	}
	if len(r.live) == 0 {
		err := r.err
		if err == nil {
			err = errNoAddress
		}
		r.stop()
		r.d.lost(err)
	}
}

// later calls launch again.
func (r *race) later(d time.Duration) {
	r.timer.Func = r.launch
	r.loop().Arm(&r.timer, r.loop().Now().Add(d))
}

// starve waits for a descriptor, ahead of those who wait to be accepted.
func (r *race) starve(err error) {
	w := r.d.s.worker
	r.hungry = true
	w.server.hunger.waiting.Add(1)
	w.starve(r.d.s.listener, err)
	r.later(acceptPause)
}

// feed ends the wait for a descriptor.
func (r *race) feed() {
	if r.hungry {
		r.hungry = false
		r.d.s.worker.server.hunger.waiting.Add(-1)
	}
}

func (r *race) try(addr netip.AddrPort) error {
	o := r.d.s.opening
	options := r.d.hops[0].Options(&o.client, o.request, addr)
	opening := r.d.opening
	if len(r.live) > 0 {
		// Bytes that ride in the SYN may reach the server even if this
		// attempt does not win. One of them may do that, not several.
		opening = nil
	}
	fd, sent, err := r.open(addr, opening, options)
	if err != nil {
		return err
	}
	a := &r.first
	if len(r.live) > 0 {
		a = new(attempt)
	}
	*a = attempt{race: r, socket: event.Socket{FD: fd, Plain: options.Mode == mptcp.ModeOff}, addr: addr, mode: options.Mode, sent: sent}
	if err := r.loop().Register(&a.socket, a); err != nil {
		r.loop().Close(&a.socket)
		return err
	}
	r.live = append(r.live, a)
	return nil
}

// Ready implements event.Handler: the connection stands or has failed.
func (a *attempt) Ready(*event.Socket) {
	if !a.socket.Writable {
		return
	}
	r := a.race
	if a.socket.Failed || a.socket.Hangup {
		if err := mptcp.ConnectError(a.socket.FD); err != nil {
			r.note(err)
			r.remove(a)
			r.loop().Close(&a.socket)
			r.launch()
			return
		}
	}
	r.remove(a)
	r.stop()
	r.d.connected(a)
}

// note keeps the failure that tells the client most: a refusal says more than
// a missing route, and any of them more than running out of time.
func (r *race) note(err error) {
	if r.err == nil || errors.Is(err, unix.ECONNREFUSED) {
		r.err = err
	}
}

func (r *race) remove(a *attempt) {
	for i, b := range r.live {
		if a == b {
			r.live = append(r.live[:i], r.live[i+1:]...)
			return
		}
	}
}

// stop gives up all attempts that are still under way.
func (r *race) stop() {
	if r.d == nil {
		return // never started
	}
	r.feed()
	r.loop().Disarm(&r.timer)
	for _, a := range r.live {
		r.loop().Close(&a.socket)
	}
	r.live = nil
	r.next = len(r.addrs)
}
