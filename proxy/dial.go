// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// maxRetries bounds how often a conversation may begin again.
const maxRetries = converter.MaxAttempts - 1

var (
	errAnswerTooLong = fmt.Errorf("answer is longer than %d bytes", openingBuffer)
	errEarlyEnd      = fmt.Errorf("connection ended before the answer: %w", io.ErrUnexpectedEOF)
	errNoAddress     = errors.New("no address to connect to")
)

// dial is a session's way to the server: the hops that may lead there, tried
// one after the other, and on each of them a race of connections and what has
// to be said before bytes are relayed.
type dial struct {
	s       *session
	hops    []Hop
	targets []netip.AddrPort // addresses of the server that policy allows
	target  int              // the one asked of the present hop
	retries int              // what the present conversation has had

	race         race
	conversation Conversation
	opening      []byte // the conversation's, then the client's early bytes
	spoken       int    // how many of them are the conversation's
	sent         int    // how many of them the kernel has taken
	answer       []byte // of the hop, not consumed yet
	held         bool   // the hop has answered, and what the client is told waits
	failure      error  // what to tell the client in the end

	counters *hopCounters  // of the present hop
	began    time.Duration // with it, since the worker began
}

// route decides how to reach what the client asked for.
func (s *session) route() {
	d := &s.opening.dial
	d.hops = s.listener.Upstream.Hops(s.opening.request)
	switch {
	case len(d.hops) == 0:
		s.fail(ErrNoUpstream)
	case s.name().host == "":
		d.targets = []netip.AddrPort{s.opening.request.Target}
		d.permitted()
	default:
		d.enter()
	}
}

// enter begins with the first of the hops that are left.
func (d *dial) enter() {
	if d.s.name().host != "" && len(d.targets) == 0 && !d.hops[0].Resolves() {
		d.resolve()
		return
	}
	d.allot(len(d.hops))
	d.connect()
}

// allot gives the present step its share of the time that is left.
func (d *dial) allot(shares int) {
	o, loop := d.s.opening, d.s.worker.loop
	if o.until.IsZero() {
		loop.Disarm(&o.timer)
		return
	}
	loop.Arm(&o.timer, loop.Now().Add(o.until.Sub(loop.Now())/time.Duration(shares)))
}

// resolve looks the name up.
func (d *dial) resolve() {
	s := d.s
	s.phase = resolving
	s.mark(resolvingBegan)
	d.allot(1)
	host, names := s.name().host, s.worker.server.names.Load()
	s.spawn(func(ctx context.Context, post func(func(bool))) {
		addrs, err := names.Lookup(ctx, host)
		post(func(wanted bool) {
			if wanted {
				d.resolved(addrs, err)
			}
		})
	})
}

func (d *dial) resolved(addrs []netip.Addr, err error) {
	d.s.opening.task = nil
	if err != nil {
		d.s.fail(err)
		return
	}
	for _, a := range addrs {
		d.targets = append(d.targets, netip.AddrPortFrom(a, d.s.opening.request.Target.Port()))
	}
	d.permitted()
}

// permitted drops the addresses that policy denies and goes on with the rest.
func (d *dial) permitted() {
	if d.s.listener.Destinations != nil || d.s.account != nil {
		var denied error
		allowed := d.targets[:0]
		for _, t := range d.targets {
			if err := d.s.check(t); err != nil {
				denied = err
				continue
			}
			allowed = append(allowed, t)
		}
		d.targets = allowed
		if len(allowed) == 0 {
			d.s.fail(denied)
			return
		}
	}
	d.enter()
}

// connect tries the present hop, for the present target.
func (d *dial) connect() {
	s, hop := d.s, d.hops[0]
	o := s.opening
	s.phase = dialling
	s.mark(diallingBegan)
	d.counters, d.began = s.worker.hops.of(hop.Name()), s.worker.age()
	var target netip.AddrPort
	if d.target < len(d.targets) {
		target = d.targets[d.target]
		s.server = target
	}
	s.hop, s.serverMPTCP = hop.Name(), mptcp.Status{}
	conversation, err := hop.Converse(&o.client, o.request, target)
	if err != nil {
		d.failed(err)
		return
	}
	d.conversation, d.retries = conversation, 0
	d.begin()
}

// begin opens a connection to the present hop for the conversation.
func (d *dial) begin() {
	d.opening, d.spoken, d.sent, d.held = nil, 0, 0, false
	d.answer = d.answer[:0]
	if d.conversation != nil {
		var whole bool
		d.opening, whole = d.conversation.Opening(nil)
		d.spoken = len(d.opening)
		if whole {
			d.opening = append(d.opening, d.s.opening.in...)
		}
	}
	addrs := d.hops[0].Addresses()
	if addrs == nil {
		addrs = d.targets
	}
	d.race.start(d, addrs)
}

// connected takes over the connection that won the race.
func (d *dial) connected(a *attempt) {
	s := d.s
	server := &s.pair.Ends[relay.Server]
	s.worker.loop.Move(server, &a.socket, s)
	d.sent = a.sent
	if d.hops[0].Addresses() == nil {
		s.server = a.addr
	}
	status, err := mptcp.Dialed(server.FD, a.mode)
	if status.Reason == mptcp.PeerTCP && d.hops[0].Addresses() != nil {
		status.Reason = whyTCP(server.FD)
	}
	s.serverMPTCP = status
	s.adopt(status, s.listener.ServerPaths, true)
	s.tune(relay.Server, status)
	if a.sent > 0 {
		d.counters.synData.Add(1)
	}
	s.keepLocal()
	if a.mode != mptcp.ModeOff && err == nil && !status.MPTCP {
		d.counters.fallback[status.Reason].Add(1)
		if a.mode == mptcp.ModeRequire {
			err := fmt.Errorf("%w: %s", mptcp.ErrNotNegotiated, status.Reason)
			if status.Reason == mptcp.FastOpen && d.sent <= d.spoken {
				err = fmt.Errorf("%w: %w", ErrRetry, err) // without data in the SYN
			}
			d.broken(err)
			return
		}
	}
	// The hop is there. What it has to do now is to reach the server, which
	// may take all the time that is left.
	d.allot(1)
	d.converse()
}

// lost is called when no address of the hop answered. That is the server's
// answer if it was asked itself, unless there is another way to it.
func (d *dial) lost(err error) {
	if (d.hops[0].Addresses() != nil || len(d.hops) > 1) && !isScarcity(err) {
		err = HopError(err)
	}
	d.failed(err)
}

// timedOut is called when the present step has had its time.
func (d *dial) timedOut() {
	err := d.race.err
	if err == nil {
		err = fmt.Errorf("connect to %s: %w", d.hops[0].Name(), unix.ETIMEDOUT)
	}
	if d.s.pair.Ends[relay.Server].FD >= 0 {
		// The hop is there, it is the server that does not answer it.
		d.failed(fmt.Errorf("no answer from %s: %w", d.hops[0].Name(), unix.ETIMEDOUT))
		return
	}
	d.race.stop()
	d.lost(err)
}

// broken is called when the connection to the hop ends before its answer. The
// next hop must not repeat the client's own bytes: the server may have them.
func (d *dial) broken(err error) {
	err = HopError(err)
	if d.sent > d.spoken {
		d.hops = d.hops[:1]
	}
	d.failed(err)
}

// failed decides what to do after a failure: once more, the server's next
// address, the next hop, or tell the client.
func (d *dial) failed(err error) {
	s, hop := d.s, d.hops[0]
	d.race.stop()
	s.forget(s.serverMPTCP, s.listener.ServerPaths)
	s.worker.loop.Close(&s.pair.Ends[relay.Server])
	s.release(relay.Server, err)
	late := s.opening.late()
	if errors.Is(err, ErrRetry) {
		if d.retries < maxRetries && !late {
			d.retries++
			hop.Report(s.opening.request, s.serverMPTCP, nil)
			d.begin()
			return
		}
		err = HopError(err)
	}
	ofHop := isHopError(err)
	if ofHop {
		d.counters.failed[1].Add(1)
	} else {
		d.counters.failed[0].Add(1)
	}
	hop.Report(s.opening.request, s.serverMPTCP, err)
	if d.failure == nil || !ofHop {
		d.failure = err
	}
	switch {
	case late:
		s.fail(d.failure)
	case ofHop && len(d.hops) > 1:
		d.hops, d.target = d.hops[1:], 0
		d.enter()
	case !ofHop && hop.Addresses() != nil && d.target+1 < len(d.targets):
		d.target++
		d.connect()
	default:
		s.fail(d.failure)
	}
}

// stop gives up.
func (d *dial) stop() { d.race.stop() }
