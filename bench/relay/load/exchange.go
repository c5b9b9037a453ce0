// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
)

// maxFailures ends a job whose relay only fails.
const maxFailures = 1000

// exchanger opens connections on one event loop, a number at a time, and has
// one exchange on each.
type exchanger struct {
	job     *Job
	loop    *event.Loop
	end     context.CancelFunc
	request []byte // SOCKS5
	payload [ExchangeSize]byte
	scratch [4 * ExchangeSize]byte

	overdue bool // the duration is over, but nothing was done yet

	relays []netip.AddrPort // Via and Beside of the job
	turn   int              // of which it is

	left   int // connections that may still be opened when others end; -1: as many as there is time for
	due    int // arrivals to come
	keep   bool
	open   map[*exchange]struct{}
	idle   []*exchange // done and kept
	result Result
	begun  time.Time
	stall  event.Timer
	limit  event.Timer
}

// exchange is one connection.
type exchange struct {
	socket event.Socket
	x      *exchanger
	relay  int
	step   step
	got    int // bytes of the message that is awaited
	in     [socksReply]byte
	begun  time.Time
}

// step is what an exchange waits for.
type step uint8

const (
	connecting step = iota
	choosing        // the SOCKS5 method selection
	requesting      // the SOCKS5 reply
	answering       // the source's answer
)

// newExchanger prepares for up to total connections, -1 for no limit.
func newExchanger(job *Job, total int, keep bool) (*exchanger, error) {
	loop, err := event.NewLoop()
	if err != nil {
		return nil, err
	}
	x := &exchanger{job: job, loop: loop, left: total, keep: keep, open: map[*exchange]struct{}{}}
	x.relays = append([]netip.AddrPort{job.Via}, job.Beside...)
	x.result.Latency, x.result.Each = workload.NewLatency(), make([]int, len(x.relays))
	if job.Target.IsValid() {
		x.request = socksRequest(job.Target)
	}
	return x, nil
}

// run opens connections, parallel at a time, until all of them or the job's
// duration (if it has one) and at least one exchange are over, or nothing has
// moved for the job's patience.
func (x *exchanger) run(ctx context.Context, parallel int) error {
	if x.job.Duration > 0 {
		x.limit.Func = x.stop
		x.loop.Arm(&x.limit, time.Now().Add(x.job.Duration))
	}
	return x.drive(ctx, func() {
		for range parallel {
			x.next()
		}
	})
}

// drive has begin open connections, and goes on until none is left.
func (x *exchanger) drive(ctx context.Context, begin func()) error {
	ctx, x.end = context.WithCancel(ctx)
	defer x.end()
	x.begun = time.Now()
	x.stall.Func = x.giveUp
	x.loop.Arm(&x.stall, x.begun.Add(x.job.Patience))
	begin()
	err := x.loop.Run(ctx)
	if x.result.Elapsed == 0 {
		x.result.Elapsed = time.Since(x.begun)
	}
	for e := range x.open {
		unix.Close(e.socket.FD)
	}
	return err
}

// giveUp ends the job without the answers that are missing.
func (x *exchanger) giveUp() {
	for range max(len(x.open), 1) {
		x.result.fail(fmt.Errorf("no answer within %v", x.job.Patience))
	}
	x.end()
}

// stop ends the job at the end of its duration: what is under way is given up.
func (x *exchanger) stop() {
	if x.result.Connections == 0 {
		x.overdue = true
		return
	}
	x.result.Elapsed = time.Since(x.begun)
	x.left = 0
	x.end()
}

// next opens a connection, or ends the run after the last one.
func (x *exchanger) next() {
	for x.left != 0 {
		if x.result.Failed >= maxFailures {
			x.left = 0
			break
		}
		if x.left > 0 {
			x.left--
		}
		err := x.connect(time.Now())
		if err == nil {
			return
		}
		x.result.fail(err)
	}
	if len(x.open) == 0 && x.due == 0 {
		x.end()
	}
}

// connect opens a connection that is as old as begun says.
func (x *exchanger) connect(begun time.Time) error {
	relay := x.turn
	x.turn = (relay + 1) % len(x.relays)
	fd, _, err := mptcp.StartConnect(x.relays[relay], nil, mptcp.ConnectOptions{Mode: x.job.mode()})
	if err != nil {
		return err
	}
	e := &exchange{socket: event.Socket{FD: fd}, x: x, relay: relay, begun: begun}
	if err := x.loop.Register(&e.socket, e); err != nil {
		unix.Close(fd)
		return err
	}
	x.open[e] = struct{}{}
	return nil
}

// Ready implements event.Handler.
func (e *exchange) Ready(*event.Socket) {
	if err := e.advance(); err != nil {
		x := e.x
		delete(x.open, e)
		x.loop.Close(&e.socket)
		x.result.fail(err)
		x.next()
	}
}

// advance goes as far as the socket's readiness allows.
func (e *exchange) advance() error {
	if e.step == connecting {
		if !e.socket.Writable {
			return nil
		}
		if err := e.connected(); err != nil {
			return err
		}
	}
	for e.socket.Readable {
		n, err := e.read()
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		e.got += n
		switch {
		case e.step == choosing && e.got == socksChoice:
			if err := errors.Join(checkChoice(e.in[:]), write(&e.socket, e.x.request)); err != nil {
				return err
			}
			e.step, e.got = requesting, 0
		case e.step == requesting && e.got == socksReply:
			if err := errors.Join(checkReply(e.in[:]), write(&e.socket, e.x.payload[:])); err != nil {
				return err
			}
			e.step, e.got = answering, 0
		case e.step == answering && e.got >= ExchangeSize:
			e.done()
			return nil
		}
	}
	return nil
}

// read reads towards the end of the awaited message.
func (e *exchange) read() (int, error) {
	switch e.step {
	case choosing:
		return read(&e.socket, e.in[e.got:socksChoice])
	case requesting:
		return read(&e.socket, e.in[e.got:socksReply])
	default:
		return read(&e.socket, e.x.scratch[:])
	}
}

// connected says the first word.
func (e *exchange) connected() error {
	if err := mptcp.ConnectError(e.socket.FD); err != nil {
		return err
	}
	// Asked until a relay has carried one: it holds for all, and costs a system call.
	if x := e.x; x.result.Each[e.relay] == 0 {
		if err := x.job.check(e.socket.FD); err != nil {
			x.left, x.due = 0, 0
			return err
		}
	}
	if e.x.request != nil {
		e.step = choosing
		return write(&e.socket, socksGreeting)
	}
	e.step = answering
	return write(&e.socket, e.x.payload[:])
}

// done ends a complete exchange.
func (e *exchange) done() {
	x := e.x
	now := x.loop.Now()
	x.result.Latency.Record(now.Sub(e.begun))
	x.result.Connections++
	x.result.Each[e.relay]++
	x.loop.Arm(&x.stall, now.Add(x.job.Patience))
	delete(x.open, e)
	if x.keep {
		x.idle = append(x.idle, e)
	} else {
		x.loop.Close(&e.socket)
	}
	if x.overdue {
		x.stop()
		return
	}
	x.next()
}

// runConnections is the workload Connections.
func runConnections(ctx context.Context, job *Job) (Result, error) {
	x, err := newExchanger(job, -1, false)
	if err != nil {
		return Result{}, err
	}
	err = x.run(ctx, job.Streams)
	return x.result, err
}
