// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestClass(t *testing.T) {
	for _, tc := range []struct{ n, class int }{
		{1, 0}, {4096, 0}, {4097, 1}, {8192, 1}, {minChunk, 2}, {minChunk + 1, 3}, {readChunk - 1, 6}, {readChunk, 6},
	} {
		c := class(tc.n)
		if c != tc.class || c >= classes {
			t.Errorf("class of %d bytes is %d, want %d", tc.n, c, tc.class)
		}
		if room := 1 << (minClass + c); room < tc.n {
			t.Errorf("%d bytes do not fit in the %d of their class", tc.n, room)
		}
	}
}

func TestHoldCopiesAndReuses(t *testing.T) {
	p := NewPool()
	defer p.Close()
	copy(p.Scratch(), "before")
	b := p.hold(p.Scratch()[:6])
	copy(p.Scratch(), "after!")
	if !bytes.Equal(b.rest(), []byte("before")) {
		t.Fatalf("held %q", b.rest())
	}
	b.from += 3
	if !bytes.Equal(b.rest(), []byte("ore")) {
		t.Fatalf("rest is %q", b.rest())
	}
	p.release(b)
	if again := p.hold(p.Scratch()[:4096]); again != b || len(again.rest()) != 4096 {
		t.Error("a free buffer was not used")
	}
	if allocs := testing.AllocsPerRun(100, func() { p.release(p.hold(p.Scratch()[:9000])) }); allocs != 0 {
		t.Errorf("%v allocations to hold and release", allocs)
	}
}

func TestFreeBuffersAreBounded(t *testing.T) {
	p := NewPool()
	defer p.Close()
	var lent []*buffer
	for range maxFree + 5 {
		lent = append(lent, p.hold(p.Scratch()[:100]))
	}
	for _, b := range lent {
		p.release(b)
	}
	if n := len(p.free[0]); n != maxFree {
		t.Errorf("%d buffers are kept, want %d", n, maxFree)
	}
	if p.held != 0 {
		t.Errorf("%d bytes held, want 0", p.held)
	}
}

func TestReadsAreSmallWhileMuchIsHeld(t *testing.T) {
	p := NewPool()
	defer p.Close()
	var lent []*buffer
	for p.readLimit() == readChunk {
		lent = append(lent, p.hold(p.Scratch()))
		if len(lent) > maxHeld/readChunk {
			t.Fatalf("reads are still large with %d bytes held", p.held)
		}
	}
	if got := p.readLimit(); got != minChunk {
		t.Errorf("limit is %d, want %d", got, minChunk)
	}
	p.release(lent[0])
	if got := p.readLimit(); got != readChunk {
		t.Errorf("limit is %d after a release, want %d", got, readChunk)
	}
}

func TestPipes(t *testing.T) {
	p := NewPool()
	defer p.Close()
	first := p.pipe()
	if first == nil {
		t.Skip("this system gives no pipes of 1 MiB")
	}
	if size, err := unix.FcntlInt(uintptr(first.r), unix.F_GETPIPE_SZ, 0); err != nil || size != PipeSize {
		t.Errorf("pipe of %d bytes, %v; want %d", size, err, PipeSize)
	}
	p.unpipe(first)
	if again := p.pipe(); again != first {
		t.Error("an idle pipe was not used")
	}
	lent := []*pipe{first}
	for pp := p.pipe(); pp != nil; pp = p.pipe() {
		lent = append(lent, pp)
	}
	if len(lent) != MaxPipes {
		t.Errorf("%d pipes were lent, want %d", len(lent), MaxPipes)
	}
	// A connection ends with bytes under way.
	n, err := unix.Write(lent[0].w, make([]byte, readChunk+1))
	if err != nil {
		t.Fatal(err)
	}
	lent[0].n = n
	lent[1].n = 1 // which is not in it: such a pipe is not to be trusted
	for _, pp := range lent {
		p.unpipe(pp)
	}
	if len(p.pipes) != MaxPipes-1 || p.made != MaxPipes-1 {
		t.Errorf("%d pipes are idle and %d exist, want all but one: %d", len(p.pipes), p.made, MaxPipes-1)
	}
	for _, pp := range p.pipes {
		if left, err := unix.IoctlGetInt(pp.r, unix.TIOCINQ); pp.n != 0 || left != 0 || err != nil {
			t.Errorf("an idle pipe has %d bytes in it, and %d were counted: %v", left, pp.n, err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(lent[1].r), unix.F_GETPIPE_SZ, 0); err != unix.EBADF {
		t.Errorf("the pipe that lacks bytes: %v, want it closed", err)
	}
}

// TestPipesAreAskedForAgain: programs of the same user share a limit of pipe
// pages, so that a refusal is not for ever.
func TestPipesAreAskedForAgain(t *testing.T) {
	p := NewPool()
	defer p.Close()
	p.pipeSize = 1<<31 + 1 // EINVAL for every user
	if p.pipe() != nil {
		t.Fatal("there is a pipe that the kernel refuses")
	}
	p.pipeSize = 2 * os.Getpagesize()
	for range refusedTurns {
		if p.pipe() != nil {
			t.Fatal("a pipe was asked for again too soon")
		}
	}
	if p.pipe() == nil {
		t.Error("no pipe, though the kernel gives them again")
	}
}

// TestSizes keeps what an idle connection costs small.
func TestSizes(t *testing.T) {
	if size := unsafe.Sizeof(direction{}); size > 40 {
		t.Errorf("a direction has %d bytes, want at most 40", size)
	}
	if size := unsafe.Sizeof(Pair{}); size > 256 {
		t.Errorf("a pair has %d bytes, want at most 256", size)
	}
	t.Logf("Pair: %d bytes", unsafe.Sizeof(Pair{}))
}
