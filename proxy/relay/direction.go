// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// turn is how many bytes a direction moves before others get their turn.
const turn = 2 << 20

// direction moves bytes from one end of a pair to the other.
type direction struct {
	moved uint64 // bytes written to the destination
	held  []byte // bytes read that the destination did not take yet…
	sent  int    // …and how many of them it took since
	pipe  *pipe  // the same for spliced bytes
	chunk int    // how much to ask for at once
	eof   bool   // the source has ended
	shut  bool   // and the destination has been told
}

// outcome says why a direction stopped moving.
type outcome uint8

const (
	blocked outcome = iota // until the next event
	yielded                // wants another turn
	ended                  // end of stream passed on
	failed                 // one of the two sockets failed
)

// run moves bytes until it is blocked, has had its turn, or has ended.
func (d *direction) run(src, dst *event.Socket, pool *Pool) (outcome, error) {
	if d.shut {
		return ended, nil
	}
	for budget := turn; ; {
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
			if err := unix.Shutdown(dst.FD, unix.SHUT_WR); err != nil && err != unix.ENOTCONN {
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
		n, err := d.fill(src, dst, pool)
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

// fill reads once, and writes at once what came by read. Errors are those of
// the source; the destination's show up in the flush that follows.
func (d *direction) fill(src, dst *event.Socket, pool *Pool) (int, error) {
	if d.chunk > readChunk {
		if d.pipe == nil {
			d.pipe = pool.pipe()
		}
		if d.pipe != nil {
			return d.spliceIn(src)
		}
	}
	want := min(d.chunk, readChunk)
	n, err := Read(src, pool.scratch[:want])
	if n <= 0 {
		d.eof = err == nil && n == 0
		return 0, ignoreAgain(err)
	}
	if n == want {
		d.grow()
	}
	m, err := Write(dst, pool.scratch[:n])
	if err == nil && m == n {
		d.moved += uint64(n)
		return n, nil
	}
	d.moved += uint64(m)
	d.held = pool.hold(pool.scratch[m:n])
	d.shrink()
	return n, nil
}

func (d *direction) spliceIn(src *event.Socket) (int, error) {
	n, err := splice(src.FD, d.pipe.w, d.chunk)
	switch {
	case err == unix.EAGAIN:
		src.Readable = false
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		d.eof = true
		return 0, nil
	}
	d.pipe.n = n
	return n, nil
}

// flush writes what is pending. A full destination is not an error.
func (d *direction) flush(dst *event.Socket, pool *Pool) error {
	if d.held != nil {
		n, err := Write(dst, d.held[d.sent:])
		d.sent += n
		d.moved += uint64(n)
		if d.sent == len(d.held) {
			pool.release(d.held)
			d.held, d.sent = nil, 0
		}
		return ignoreAgain(err)
	}
	n, err := splice(d.pipe.r, dst.FD, d.pipe.n)
	if err == unix.EAGAIN {
		dst.Writable = false
		d.shrink()
		return nil
	}
	if err != nil {
		return err
	}
	d.pipe.n -= n
	d.moved += uint64(n)
	return nil
}

// drop forgets what is pending, because an end of the pair is gone.
func (d *direction) drop(pool *Pool) {
	if d.held != nil {
		pool.release(d.held)
		d.held, d.sent = nil, 0
	}
	d.rest(pool)
}

func (d *direction) grow()   { d.chunk = min(d.chunk*4, pipeChunk) }
func (d *direction) shrink() { d.chunk = max(d.chunk/2, minChunk) }
