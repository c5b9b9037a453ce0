// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

const (
	minChunk  = 16 << 10  // first read of a flow, and its least, bytes
	readChunk = 256 << 10 // largest read into the shared buffer, bytes
	PipeSize  = 1 << 20   // largest splice, and the size of a pipe, bytes

	// bulky is how many bytes a flow has to move without a pause, in pieces
	// of minChunk or more, to be spliced. It is more than a send buffer
	// takes at once from a flow whose receiver is slow.
	bulky = 4 << 20

	// maxHeld is how many bytes may be held for destinations that are full
	// while reads are large. Beyond it each pair adds minChunk at most.
	maxHeld = 16 << 20

	// MaxPipes bounds the pipes of one loop, because a stalled bulk flow
	// keeps its pipe until its receiver has room: 2 descriptors and up to
	// PipeSize each. Flows beyond it read and write.
	MaxPipes = 24

	// refusedTurns is how many bulk reads go without a pipe after the kernel
	// has refused one: to ask costs as much as to read some ten kB.
	refusedTurns = 64

	// classes of buffers for what could not be written: 4 KiB … 256 KiB.
	minClass = 12
	classes  = 7
	// maxFree bounds the free buffers kept per class.
	maxFree = 32
)

// Pool holds what the pairs of one loop borrow while they move bytes. It is
// used on that loop only and has no lock.
type Pool struct {
	scratch  []byte
	free     [classes][]*buffer
	held     int // bytes of the buffers that are lent
	pipes    []*pipe
	made     int
	refused  int // reads until a pipe is asked for again
	pipeSize int // bytes
}

// NewPool returns a pool for the pairs of one loop.
func NewPool() *Pool {
	return &Pool{scratch: make([]byte, readChunk), pipeSize: PipeSize}
}

// Close releases the idle pipes. Pairs must have ended before.
func (p *Pool) Close() {
	for _, pp := range p.pipes {
		pp.close()
	}
	p.pipes = nil
}

// Scratch is a buffer to read into what is thrown away or copied before
// another pair has its turn.
func (p *Pool) Scratch() []byte { return p.scratch }

// readLimit is how much may be read at once: whatever the destination does not
// take has to be held.
func (p *Pool) readLimit() int {
	if p.held >= maxHeld {
		return minChunk
	}
	return readChunk
}

// buffer holds bytes for a destination that is full.
type buffer struct {
	bytes    []byte
	from, to int // what of bytes is still to be written
}

func (b *buffer) rest() []byte { return b.bytes[b.from:b.to] }

// hold copies b, which is not empty and may stand in the scratch buffer, into
// a buffer of its own.
func (p *Pool) hold(b []byte) *buffer {
	c := class(len(b))
	var buf *buffer
	if n := len(p.free[c]); n > 0 {
		buf = p.free[c][n-1]
		p.free[c] = p.free[c][:n-1]
	} else {
		buf = &buffer{bytes: make([]byte, 1<<(minClass+c))}
	}
	buf.from, buf.to = 0, copy(buf.bytes, b)
	p.held += len(buf.bytes)
	return buf
}

// release takes back a buffer that hold gave out.
func (p *Pool) release(buf *buffer) {
	p.held -= len(buf.bytes)
	c := class(len(buf.bytes))
	if len(p.free[c]) < maxFree {
		p.free[c] = append(p.free[c], buf)
	}
}

// class is the smallest one whose buffers hold n bytes.
func class(n int) int {
	return max(bits.Len(uint(n-1))-minClass, 0)
}

// pipe is a kernel buffer between two splices.
type pipe struct {
	r, w int
	n    int // bytes inside
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// pipe lends an empty pipe, or nil when there is none to be had.
func (p *Pool) pipe() *pipe {
	if n := len(p.pipes); n > 0 {
		pp := p.pipes[n-1]
		p.pipes = p.pipes[:n-1]
		return pp
	}
	if p.made >= MaxPipes {
		return nil
	}
	if p.refused > 0 {
		p.refused--
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		p.refused = refusedTurns // out of descriptors: reading and writing still works
		return nil
	}
	pp := &pipe{r: fds[0], w: fds[1]}
	if _, err := unix.FcntlInt(uintptr(pp.w), unix.F_SETPIPE_SZ, p.pipeSize); err != nil {
		// Over the limit of the user (fs.pipe-user-pages-soft), which all its
		// programs share, a pipe stays too small to be worth it.
		pp.close()
		p.refused = refusedTurns
		return nil
	}
	p.made++
	return pp
}

// unpipe takes a pipe back. What is still in it is read, not closed with it:
// the kernel may refuse another one.
func (p *Pool) unpipe(pp *pipe) {
	for pp.n > 0 {
		n, err := unix.Read(pp.r, p.scratch)
		if n <= 0 && err != unix.EINTR {
			pp.close()
			p.made--
			return
		}
		pp.n -= max(n, 0)
	}
	p.pipes = append(p.pipes, pp)
}
