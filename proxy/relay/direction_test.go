// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// bench is a direction between two local stream sockets, driven by hand.
type bench struct {
	t          *testing.T
	pool       *Pool
	d          direction
	src, dst   event.Socket // the direction's
	from, into int          // their peers
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: NewPool()}
	b.d.paused()
	var src, dst [2]int
	for _, fds := range []*[2]int{&src, &dst} {
		var err error
		if *fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.from, b.src.FD, b.dst.FD, b.into = src[0], src[1], dst[0], dst[1]
	t.Cleanup(func() {
		for _, fd := range []int{b.from, b.src.FD, b.dst.FD, b.into} {
			unix.Close(fd)
		}
		b.d.drop(b.pool)
		if pipes, held := b.pool.Lent(); pipes != 0 || held != 0 {
			t.Errorf("%d pipes and %d bytes are still lent", pipes, held)
		}
		b.pool.Close()
	})
	return b
}

// run runs the direction as if both sockets had become ready.
func (b *bench) run() (outcome, error) {
	b.src.Readable, b.dst.Writable = true, true
	return b.d.run(&b.src, &b.dst, b.pool, false, turn)
}

func (b *bench) mustRun(want outcome) {
	b.t.Helper()
	if got, err := b.run(); got != want || err != nil {
		b.t.Fatalf("outcome %d, %v; want %d", got, err, want)
	}
}

// feed writes until the source takes no more or n bytes are in.
func (b *bench) feed(n int) (fed int) {
	b.t.Helper()
	for fed < n {
		m, err := unix.Write(b.from, make([]byte, min(n-fed, 64<<10)))
		if err == unix.EAGAIN {
			return fed
		}
		if err != nil {
			b.t.Fatal(err)
		}
		fed += m
	}
	return fed
}

// drain reads all there is at the destination.
func (b *bench) drain() (got int) {
	b.t.Helper()
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(b.into, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return got
		}
		if err != nil {
			b.t.Fatal(err)
		}
		got += n
	}
}

func TestNothingIsReadWithoutRoom(t *testing.T) {
	b := newBench(t)
	b.feed(1000)
	b.src.Readable = true
	if got, err := b.d.run(&b.src, &b.dst, b.pool, false, turn); got != blocked || err != nil || !b.src.Readable {
		t.Fatalf("outcome %d, %v, readable %v; want blocked and nothing read", got, err, b.src.Readable)
	}
	b.mustRun(blocked)
	if got := b.drain(); got != 1000 || b.src.Readable || !b.d.active {
		t.Fatalf("moved %d bytes, readable %v, active %v; want all of 1000", got, b.src.Readable, b.d.active)
	}
}

func TestEndIsPassedOnOnce(t *testing.T) {
	b := newBench(t)
	b.feed(10)
	unix.Shutdown(b.from, unix.SHUT_WR)
	b.mustRun(ended)
	b.mustRun(over)
	if got := b.drain(); got != 10 {
		t.Errorf("%d bytes came before the end, want 10", got)
	}
	if n, err := unix.Read(b.into, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d, %v after the end, want the end", n, err)
	}
}

func TestEndWaitsForHeldBytes(t *testing.T) {
	b := newBench(t)
	b.d.held = b.pool.hold([]byte("held"))
	unix.Shutdown(b.from, unix.SHUT_WR)
	b.src.Readable = true
	if got, _ := b.d.run(&b.src, &b.dst, b.pool, false, turn); got != blocked || b.d.shut {
		t.Fatal("the end overtook bytes")
	}
	b.mustRun(ended)
	buf := make([]byte, 10)
	if n, err := unix.Read(b.into, buf); err != nil || !bytes.Equal(buf[:n], []byte("held")) {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

func TestFailuresOfEitherSocket(t *testing.T) {
	t.Run("destination", func(t *testing.T) {
		b := newBench(t)
		b.feed(10)
		unix.Shutdown(b.dst.FD, unix.SHUT_WR)
		if got, err := b.run(); got != failed || err != unix.EPIPE {
			t.Errorf("outcome %d, %v; want failed with EPIPE", got, err)
		}
	})
	t.Run("source", func(t *testing.T) {
		b := newBench(t)
		file, err := unix.Open(t.TempDir(), unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(b.src.FD)
		b.src.FD = file
		if got, err := b.run(); got != failed || err != unix.EISDIR {
			t.Errorf("outcome %d, %v; want failed with EISDIR", got, err)
		}
	})
}

// TestHeldBytesArriveFirst fills the destination and goes on when it is read.
func TestHeldBytesArriveFirst(t *testing.T) {
	b := newBench(t)
	fed, got := 0, 0
	for b.d.held == nil {
		if n := b.feed(64 << 10); n == 0 && fed > 64<<20 {
			t.Fatal("the destination takes everything")
		} else {
			fed += n
		}
		if result, err := b.run(); result == failed {
			t.Fatal(err)
		}
	}
	if b.dst.Writable {
		t.Error("bytes are held, but the destination counts as writable")
	}
	for got < fed {
		n := b.drain()
		if n == 0 {
			t.Fatalf("stuck after %d of %d bytes", got, fed)
		}
		got += n
		b.mustRun(blocked)
	}
	if b.d.moved != uint64(fed) || b.d.held != nil {
		t.Errorf("moved %d of %d bytes", b.d.moved, fed)
	}
}

// TestTurn has a source without end: the direction must yield, and give its
// pipe back once the source pauses.
func TestTurn(t *testing.T) {
	b := newBench(t)
	unix.Close(b.src.FD)
	unix.Close(b.dst.FD)
	var err error
	if b.src.FD, err = unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if b.dst.FD, err = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		before := b.d.moved
		b.mustRun(yielded)
		if n := b.d.moved - before; n < turn || n > turn+PipeSize {
			t.Errorf("turn %d moved %d bytes, want some %d", i, n, turn)
		}
	}
	if b.d.streak < bulky || b.d.pipe == nil {
		t.Error("a flow without end is not spliced")
	}
	unix.Close(b.src.FD)
	var silent [2]int
	if err := unix.Pipe2(silent[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(silent[1])
	b.src.FD = silent[0]
	b.mustRun(blocked)
	if b.d.pipe != nil {
		t.Error("a flow that pauses keeps its pipe")
	}
}

func TestChunkFollowsTheFlow(t *testing.T) {
	var d direction
	d.paused()
	for i, step := range []struct{ n, limit, chunk int }{
		{minChunk, readChunk, 64 << 10},
		{64 << 10, readChunk, 256 << 10},
		{256 << 10, readChunk, 256 << 10},
		{256 << 10, PipeSize, 1 << 20},
		{1 << 20, PipeSize, 1 << 20},
		{256 << 10, PipeSize, 1 << 20}, // a quarter is not little
		{100, PipeSize, 512 << 10},
		{100, PipeSize, 256 << 10},
		{100, PipeSize, 128 << 10},
		{100, PipeSize, 64 << 10},
		{100, PipeSize, 32 << 10},
		{100, PipeSize, minChunk},
		{100, PipeSize, minChunk},
	} {
		d.got(step.n, int32(step.limit))
		if int(d.chunk) != step.chunk {
			t.Fatalf("step %d: chunk %d, want %d", i, d.chunk, step.chunk)
		}
	}
}

func TestOnlyLargePiecesMakeAFlowBulky(t *testing.T) {
	var d direction
	d.paused()
	for range 10_000 {
		d.got(minChunk-1, readChunk)
	}
	if d.streak != 0 {
		t.Errorf("small pieces count %d", d.streak)
	}
	for range bulky / minChunk {
		d.got(minChunk, readChunk)
	}
	if d.streak < bulky {
		t.Errorf("streak %d after %d bytes", d.streak, bulky)
	}
	d.paused()
	if d.streak != 0 || d.chunk != minChunk {
		t.Error("a pause changes nothing")
	}
}

func TestLimit(t *testing.T) {
	const short, long = time.Second, time.Minute
	for _, tc := range []struct {
		name     string
		timeouts Timeouts
		half     bool
		limit    time.Duration
		reason   error
	}{
		{"none", Timeouts{}, false, 0, ErrIdle},
		{"none, half-closed", Timeouts{}, true, 0, ErrIdle},
		{"idle", Timeouts{Idle: long, HalfClosed: short}, false, long, ErrIdle},
		{"half-closed", Timeouts{Idle: long, HalfClosed: short}, true, short, ErrHalfClosed},
		{"half-closed only", Timeouts{HalfClosed: short}, true, short, ErrHalfClosed},
		{"idle is shorter", Timeouts{Idle: short, HalfClosed: long}, true, short, ErrIdle},
		{"idle only", Timeouts{Idle: short}, true, short, ErrIdle},
	} {
		for _, by := range []int{Client, Server} {
			p := Pair{timeouts: &tc.timeouts}
			p.dirs[by].shut = tc.half
			if limit, reason := p.limit(); limit != tc.limit || reason != tc.reason {
				t.Errorf("%s: %v, %v; want %v, %v", tc.name, limit, reason, tc.limit, tc.reason)
			}
		}
	}
}
