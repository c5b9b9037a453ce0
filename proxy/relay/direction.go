// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// turn is how many bytes a direction moves before others get their turn.
const turn = 2 << 20

// direction moves bytes from one end of a pair to the other. There are two
// per connection, most of them idle, so it is kept small.
type direction struct {
	moved  uint64  // bytes written to the destination
	held   *buffer // bytes read that the destination did not take yet
	pipe   *pipe   // the same for spliced bytes
	chunk  int32   // how much to ask for at once
	streak int32   // bytes that came in large pieces since the last pause
	active bool    // bytes have come or gone since the pair looked
	eof    bool    // the source has ended
	shut   bool    // and the destination has been told
}

// outcome says why a direction stopped moving.
type outcome uint8

const (
	blocked outcome = iota // until the next event
	yielded                // wants another turn
	ended                  // has just passed on the end of the stream
	over                   // had done so before
	failed                 // one of the two sockets failed
)

// run moves bytes until it is blocked, has read its budget, or has ended.
// With last the other direction has ended: instead of being told the end of the
// stream, the destination is about to be closed.
func (d *direction) run(src, dst *event.Socket, pool *Pool, last bool, budget int) (outcome, error) {
	if d.shut {
		return over, nil
	}
	for {
		if d.pending() {
			if !dst.Writable {
				return blocked, nil
			}
			if err := d.flush(dst, pool); err != nil {
				return failed, err
			}
			continue
		}
		if d.eof {
			d.shut = true
			d.rest(pool)
			if last {
				return ended, nil
			}
			if err := shutdown(dst.FD); err != nil {
				return failed, err
			}
			return ended, nil
		}
		if !src.Readable || !dst.Writable {
			d.rest(pool)
			return blocked, nil
		}
		if budget <= 0 {
			return yielded, nil
		}
		n, err := d.fill(src, dst, pool, budget)
		if err != nil {
			return failed, err
		}
		budget -= n
	}
}

// pending reports whether bytes wait for the destination.
func (d *direction) pending() bool {
	return d.held != nil || d.pipe != nil && d.pipe.n > 0
}

// rest gives the empty pipe back while nothing moves.
func (d *direction) rest(pool *Pool) {
	if d.pipe != nil {
		pool.unpipe(d.pipe)
		d.pipe = nil
	}
}

// fill reads once, some bytes at most, and writes at once what came by read.
// Errors are those of the source; the destination's show up in the flush that
// follows.
func (d *direction) fill(src, dst *event.Socket, pool *Pool, most int) (int, error) {
	if d.streak >= bulky {
		if d.pipe == nil {
			d.pipe = pool.pipe()
		}
		if d.pipe != nil {
			return d.spliceIn(src, most)
		}
	}
	want := min(int(d.chunk), pool.readLimit(), most)
	n, err := Read(src, pool.scratch[:want])
	if n <= 0 {
		d.eof = err == nil && n == 0
		return 0, ignoreAgain(err)
	}
	d.got(n, readChunk)
	m, err := Write(dst, pool.scratch[:n])
	d.moved += uint64(m)
	if err != nil {
		d.held = pool.hold(pool.scratch[m:n])
	}
	return n, nil
}

func (d *direction) spliceIn(src *event.Socket, most int) (int, error) {
	n, err := splice(src.FD, d.pipe.w, min(int(d.chunk), most))
	switch {
	case err == unix.EAGAIN:
		// The pipe is empty, so it is the source that has nothing.
		src.Readable = false
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		d.eof = true
		return 0, nil
	}
	d.pipe.n = n
	d.got(n, PipeSize)
	return n, nil
}

// got learns from n bytes that came how much to ask for next. To ask for too
// much costs: from an MPTCP socket, splice allocates the pages for all of it
// before it looks what there is (fs/splice.c, copy_splice_read).
func (d *direction) got(n int, limit int32) {
	d.active = true
	if n >= minChunk {
		d.streak = min(d.streak+int32(n), bulky)
	}
	switch {
	case int32(n) >= d.chunk:
		d.chunk = min(d.chunk*4, limit)
	case int32(n) < d.chunk/4:
		d.chunk = max(d.chunk/2, minChunk)
	}
}

// paused makes the flow prove its size again.
func (d *direction) paused() { d.chunk, d.streak = minChunk, 0 }

// flush writes what is pending. A full destination is not an error.
func (d *direction) flush(dst *event.Socket, pool *Pool) error {
	if b := d.held; b != nil {
		n, err := Write(dst, b.rest())
		b.from += n
		d.wrote(n)
		if b.from == b.to {
			pool.release(b)
			d.held = nil
		}
		return ignoreAgain(err)
	}
	n, err := splice(d.pipe.r, dst.FD, d.pipe.n)
	if err == unix.EAGAIN {
		dst.Writable = false
		return nil
	}
	if err != nil {
		return err
	}
	d.pipe.n -= n
	d.wrote(n)
	return nil
}

func (d *direction) wrote(n int) {
	if n > 0 {
		d.moved += uint64(n)
		d.active = true
	}
}

// drop forgets what is pending, because an end of the pair is gone.
func (d *direction) drop(pool *Pool) {
	if d.held != nil {
		pool.release(d.held)
		d.held = nil
	}
	d.rest(pool)
}
