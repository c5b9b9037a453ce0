// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"
)

// Thin is a stream of small messages at a constant interval, as of games,
// telemetry and calls over TCP. Latency is one-way, from when a message was due
// to its arrival as a whole at the other end's application. The clock is that
// of the machine: both ends have to be on it.
type Thin struct {
	// Up is from the client to the server.
	Up bool
	// Size of a message in bytes: at least 24 up, 8 down.
	Size     int64
	Interval time.Duration
	Count    int
	// Patience with each message; 0 is [Patience].
	Patience time.Duration
}

// String says what the load is.
func (w Thin) String() string {
	direction := "down"
	if w.Up {
		direction = "up"
	}
	return fmt.Sprintf("thin stream %s of %d messages of %d B, one every %v", direction, w.Count, w.Size, w.Interval)
}

// Run runs the workload.
func (w Thin) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if w.Patience == 0 {
		w.Patience = Patience
	}
	if w.Up {
		return w.up(ctx, dial)
	}
	return w.down(ctx, dial)
}

func (w Thin) up(ctx context.Context, dial Dialer) (*Result, error) {
	if err := Fixed(w.Size).check("message", askSize); err != nil {
		return nil, err
	}
	s := schedule{actions: make([]action, w.Count), sessions: 1, patience: w.Patience, warm: true}
	for i := range s.actions {
		s.actions[i] = action{at: time.Duration(i) * w.Interval, ask: ask{kind: stamp, request: uint64(w.Size)}}
	}
	// Where the beginning lies on the machine's clock.
	var base time.Duration
	s.began = func(start time.Time) { base = clock() - time.Since(start) }
	return s.result(ctx, dial, func(a *action) (at, took time.Duration) { return a.at, a.stamp - base - a.at })
}

func (w Thin) down(ctx context.Context, dial Dialer) (*Result, error) {
	a := ask{kind: stream, request: uint64(w.Size), answer: uint64(w.Count), pause: w.Interval}
	if _, err := parseAsk((*[askSize]byte)(a.appendTo(nil))); err != nil {
		return nil, err
	}
	r := NewResult()
	c, err := dialWithin(ctx, dial, w.Patience)
	if err != nil {
		r.failRest(w.Count, err)
		return r, ctx.Err()
	}
	defer abort(c)
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(a.appendTo(nil)); err != nil {
		r.failRest(w.Count, err)
		return r, ctx.Err()
	}
	in := newMessages(c, w.Size)
	var first time.Duration
	for i := range w.Count {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := c.SetReadDeadline(time.Now().Add(w.Interval + w.Patience))
		var due, arrived time.Duration
		if err == nil {
			due, arrived, err = in.next()
		}
		if err != nil {
			r.failRest(w.Count-i, answerError(err))
			return r, ctx.Err()
		}
		if i == 0 {
			first = due
		}
		r.add(due-first, arrived-due, 0, w.Size)
	}
	return r, nil
}

// messages reads those of a stream.
type messages struct {
	in   *bufio.Reader
	down flow
	one  []byte
}

func newMessages(c io.Reader, size int64) *messages {
	return &messages{in: bufio.NewReaderSize(c, readSize), one: make([]byte, size)}
}

// next tells when a message was due and when it had arrived, by the machine's
// clock.
func (m *messages) next() (due, arrived time.Duration, err error) {
	if _, err := io.ReadFull(m.in, m.one); err != nil {
		return 0, 0, err
	}
	arrived = clock()
	m.down.skip(stampSize)
	return parseTime(m.one), arrived, m.down.check(m.one[stampSize:])
}

// failRest counts all that will not come any more.
func (r *Result) failRest(n int, err error) {
	for range n {
		r.fail(err)
	}
}
