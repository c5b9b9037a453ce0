// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/relay"
)

// converse says what is left of the opening and hears the answer.
func (d *dial) converse() {
	server := &d.s.pair.Ends[relay.Server]
	switch {
	case d.held:
		return
	case d.conversation == nil:
		d.done()
		return
	}
	if d.sent < len(d.opening) {
		if !server.Writable {
			return
		}
		n, err := relay.Write(server, d.opening[d.sent:])
		d.sent += n
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			d.broken(fmt.Errorf("write to hop: %w", err))
			return
		}
	}
	for {
		n, send, done, err := d.conversation.Next(d.answer)
		d.answer = d.answer[:copy(d.answer, d.answer[n:])]
		if len(send) > 0 {
			if m, err := relay.Write(server, send); m < len(send) {
				d.broken(fmt.Errorf("write to hop: %w", err))
				return
			}
		}
		switch {
		case done:
			d.done()
			return
		case errors.Is(err, ErrMore):
			if !d.hear() {
				return
			}
		case err != nil:
			d.failed(err)
			return
		}
	}
}

// hear reads once and reports whether something new is there.
func (d *dial) hear() bool {
	server := &d.s.pair.Ends[relay.Server]
	if !server.Readable {
		return false
	}
	if d.answer == nil {
		d.answer = d.s.worker.buffer()
	}
	if len(d.answer) == cap(d.answer) {
		d.broken(errAnswerTooLong)
		return false
	}
	n, err := relay.Read(server, d.answer[len(d.answer):cap(d.answer)])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false
	case err != nil:
		d.broken(fmt.Errorf("read from hop: %w", err))
		return false
	case n == 0:
		d.broken(errEarlyEnd)
		return false
	}
	d.answer = d.answer[:len(d.answer)+n]
	return true
}

// done hands the connection to the relay, with those bytes of the client that
// did not go with the opening.
func (d *dial) done() {
	s := d.s
	if s.holdsBack() {
		d.held = true
		s.whenApplied(func() {
			if s.phase == dialling && d.held { // else it has come to its end meanwhile, or goes another way
				d.finish()
			}
		})
		return
	}
	d.finish()
}

func (d *dial) finish() {
	s := d.s
	early := s.opening.in
	if len(d.opening) > d.spoken {
		s.early, early = uint16(len(d.opening)-d.spoken), nil
	}
	s.through = d.hops[0].Addresses() != nil
	d.hops[0].Report(s.opening.request, s.serverMPTCP, nil)
	d.counters.reached.Add(1)
	d.counters.took.add(s.worker.age() - d.began)
	s.askedHop(d.conversation)
	b := s.opening.handshake.Reply(s.worker.pool.Scratch()[:0], Outcome{
		FD:      s.pair.Ends[relay.Server].FD,
		SYNACKs: s.worker.server.opts.SYNACKs,
		Granted: s.settleChoices(),
	})
	if len(b) == 0 || s.say(b) {
		s.relay(early, d.answer)
	}
}
