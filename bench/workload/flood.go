// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Flood is bulk from the server for a while, as much as goes, in messages.
// Latency is one-way, from when the server's kernel had taken all messages
// before one to the arrival of that as a whole: what waits on the way counts,
// and 64 kB that the server has not sent. What is under way at the end is given up.
type Flood struct {
	// Size of a message in bytes, 8 to 1 MiB.
	Size int64
	// For is how long it lasts, from the first message to arrive.
	For time.Duration
	// Patience with each message; 0 is [Patience].
	Patience time.Duration
}

// String says what the load is.
func (w Flood) String() string {
	return fmt.Sprintf("as many messages of %d B down as go in %v", w.Size, w.For)
}

// Run runs the workload.
func (w Flood) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if w.Patience == 0 {
		w.Patience = Patience
	}
	a := ask{kind: stream, request: uint64(w.Size), answer: maxBytes}
	if _, err := parseAsk((*[askSize]byte)(a.appendTo(nil))); err != nil {
		return nil, err
	}
	r := NewResult()
	c, err := dialWithin(ctx, dial, w.Patience)
	if err != nil {
		r.fail(err)
		return r, ctx.Err()
	}
	defer abort(c)
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(a.appendTo(nil)); err != nil {
		r.fail(err)
		return r, ctx.Err()
	}
	in := newMessages(c, w.Size)
	var first time.Duration
	var end time.Time // known once a message has arrived
	for {
		until := time.Now().Add(w.Patience)
		if !end.IsZero() && end.Before(until) {
			until = end
		}
		err := c.SetReadDeadline(until)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var due, arrived time.Duration
		if err == nil {
			due, arrived, err = in.next()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && until.Equal(end) {
			r.Elapsed = w.For
			return r, ctx.Err()
		}
		if err != nil {
			r.fail(answerError(err))
			return r, ctx.Err()
		}
		if end.IsZero() {
			first, end = due, time.Now().Add(w.For)
		}
		r.add(due-first, arrived-due, 0, w.Size)
	}
}
