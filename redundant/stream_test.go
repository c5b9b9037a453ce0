// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// end is one end of a stream with its owner.
type end struct {
	*os.File // what the owner reads and writes
	hub      *Hub
	stream   *Stream
	aborted  chan error
	once     sync.Once
}

// owner ends with the test, as all streams do.
func owner(t testing.TB, h *Hub, key Key) *end {
	t.Helper()
	s, isNew, err := h.Find(key, 0)
	if err != nil || !isNew {
		t.Fatalf("find: %t, %v", isNew, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := &end{File: os.NewFile(uintptr(pair[0]), "owner"), hub: h, stream: s, aborted: make(chan error, 1)}
	s.Start(pair[1], func(err error) { e.aborted <- err; e.let(err) })
	t.Cleanup(func() { e.let(errGivenUp) })
	return e
}

// let closes the owner's end.
func (e *end) let(err error) {
	e.once.Do(func() {
		e.File.Close()
		e.stream.Release(err)
	})
}

func (e *end) shut(t *testing.T) {
	t.Helper()
	raw, err := e.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		t.Fatal(err)
	}
}

func newHub(t testing.TB, c Config) *Hub {
	h := NewHub(c)
	t.Cleanup(h.Close)
	return h
}

func streams(t testing.TB, c Config) (a, b *end) {
	t.Helper()
	key := Key{"test", NewID()}
	ha, hb := newHub(t, c), newHub(t, c)
	return owner(t, ha, key), owner(t, hb, key)
}

// sockets are the two ends of a TCP connection.
func sockets(t testing.TB) (a, b int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return descriptor(t, dialled), descriptor(t, accepted)
}

// connOf takes over a descriptor.
func connOf(t *testing.T, fd int) *net.TCPConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func descriptor(t testing.TB, c net.Conn) (fd int) {
	t.Helper()
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(d uintptr) { fd, err = unix.FcntlInt(d, unix.F_DUPFD_CLOEXEC, 0) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return fd
}

// join adds a leg; nil when the stream has ended at either end.
func join(t testing.TB, a, b *Stream) (la, lb *Leg) {
	t.Helper()
	fa, fb := sockets(t)
	la, ea := a.Join(fa, LegOptions{})
	lb, eb := b.Join(fb, LegOptions{})
	if ea != nil {
		unix.Close(fa)
	}
	if eb != nil {
		unix.Close(fb)
	}
	return la, lb
}

var errCut = errors.New("cut")

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not come", what)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = source.Read(b)
	return b
}

// converse sends up and down at the same time and checks what arrives.
func converse(t *testing.T, a, b *end, up, down []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for _, x := range []struct {
		end          *end
		sends, wants []byte
	}{{a, up, down}, {b, down, up}} {
		wg.Go(func() {
			var writing sync.WaitGroup
			writing.Go(func() {
				if _, err := x.end.Write(x.sends); err != nil {
					t.Error(err)
				}
				x.end.shut(t)
			})
			got, err := io.ReadAll(x.end)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(x.wants) {
				t.Errorf("%d of %d bytes arrived, or others: %v", len(got), len(x.wants), err)
			}
			writing.Wait()
			x.end.let(nil)
		})
	}
	wg.Wait()
	for _, e := range []*end{a, b} {
		await(t, "the end of the stream", e.stream.Done())
		select {
		case err := <-e.aborted:
			t.Errorf("aborted: %v", err)
		default:
		}
	}
}

// leavesNothing closes hubs whose streams have ended.
func leavesNothing(t *testing.T, hubs ...*Hub) {
	t.Helper()
	for _, h := range hubs {
		h.Close()
		if n := h.Stats(); n != (Stats{}) {
			t.Errorf("left behind: %+v", n)
		}
	}
}

func TestHalfClose(t *testing.T) {
	a, b := streams(t, Config{})
	join(t, a.stream, b.stream)
	a.shut(t)
	if got, err := io.ReadAll(b); err != nil || len(got) > 0 {
		t.Fatalf("%q, %v", got, err)
	}
	// The way back is open.
	if _, err := b.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	b.shut(t)
	b.let(nil)
	if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, []byte("late")) {
		t.Fatalf("%q, %v", got, err)
	}
	a.let(nil)
	await(t, "the end", a.stream.Done())
	await(t, "the end", b.stream.Done())
}

// Nobody reads at either end: what is under way is bounded, and goes on.
func TestBackpressure(t *testing.T) {
	a, b := streams(t, Config{Memory: 1 << 19})
	join(t, a.stream, b.stream)
	read := make(chan struct{})
	var wg sync.WaitGroup
	for _, e := range []*end{a, b} {
		wg.Go(func() {
			var writing sync.WaitGroup
			writing.Go(func() {
				if _, err := e.Write(random(2 << 20)); err != nil {
					t.Error(err)
				}
				e.shut(t)
			})
			<-read
			got, err := io.ReadAll(e)
			if err != nil || !bytes.Equal(got, random(2<<20)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			writing.Wait()
			e.let(nil)
		})
	}
	for h := a.hub; h.Stats().Memory < 1<<17; {
		time.Sleep(time.Millisecond)
	}
	close(read)
	wg.Wait()
}

// A leg that nothing gets through, and whose buffers are full, holds up nothing.
func TestStuckLeg(t *testing.T) {
	a, b := streams(t, Config{})
	stuck, mute := sockets(t)
	defer unix.Close(mute)
	leg, err := a.stream.Join(stuck, LegOptions{})
	if err != nil {
		t.Fatal(err)
	}
	join(t, a.stream, b.stream)
	go func() {
		<-a.stream.Done()
		leg.close(errCut)
	}()
	converse(t, a, b, random(4<<20), random(1000))
	leavesNothing(t, a.hub, b.hub)
}

func TestReset(t *testing.T) {
	a, b := streams(t, Config{})
	join(t, a.stream, b.stream)
	join(t, a.stream, b.stream)
	if _, err := a.Write([]byte("half of")); err != nil {
		t.Fatal(err)
	}
	a.let(errors.New("enough"))
	if err := <-b.aborted; !errors.Is(err, ErrReset) {
		t.Fatal(err)
	}
	a.hub.Close()
	if _, _, err := a.hub.Find(a.stream.key, 0); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	for b.hub.Stats().Streams > 0 {
		time.Sleep(time.Millisecond)
	}
	_, _, err := b.hub.Find(b.stream.key, b.stream.Instance())
	var ended *EndedError
	if !errors.As(err, &ended) || ended.Instance != b.stream.Instance() || !bytes.Equal(ended.Last, Header{Kind: Reset}.AppendTo(nil)) {
		t.Fatalf("%+v, %v", ended, err)
	}
}

// waits is how much was taken that no leg has.
func (s *Stream) waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maxAhead - s.room()
}

// What no leg takes is not read from the local end: what comes behind it would
// only wait longer.
func TestReadsNotAhead(t *testing.T) {
	a, b := streams(t, Config{})
	written := make(chan error, 1)
	go func() {
		_, err := a.Write(random(32 * maxAhead))
		written <- err
	}()
	for a.stream.waits() < maxAhead {
		time.Sleep(time.Millisecond)
	}
	if n := a.hub.Stats().Memory; n > maxAhead+chunkLen {
		t.Errorf("%d bytes wait for a leg", n)
	}
	join(t, a.stream, b.stream)
	got := make([]byte, 32*maxAhead)
	if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, random(len(got))) {
		t.Errorf("other bytes, %v", err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A leg that nothing gets through does not hold up the end of a process for long.
func TestCloseWithStuckLeg(t *testing.T) {
	a, _ := streams(t, Config{})
	fd, mute := sockets(t)
	defer unix.Close(mute)
	leg, err := a.stream.Join(fd, LegOptions{Hear: func([]byte) (int, error) { return 0, ErrShort }})
	if err != nil {
		t.Fatal(err)
	}
	go a.Write(random(8 * maxAhead)) // more than is taken
	for a.stream.waits() == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	a.hub.Close()
	if err := <-a.aborted; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := leg.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took >= lastTime {
		t.Errorf("took %v", took)
	}
}

func TestBounds(t *testing.T) {
	a, b := streams(t, Config{MaxLegs: 1, Linger: 20 * time.Millisecond})
	// Without a leg neither lives for long.
	for _, e := range []*end{a, b} {
		if err := <-e.aborted; !errors.Is(err, ErrNoLeg) {
			t.Fatal(err)
		}
		if _, err := e.stream.Join(-1, LegOptions{}); !errors.Is(err, ErrEnded) {
			t.Fatal(err)
		}
	}
	a, b = streams(t, Config{MaxLegs: 1})
	join(t, a.stream, b.stream)
	if _, err := a.stream.Join(-1, LegOptions{}); !errors.Is(err, ErrLegs) {
		t.Fatal(err)
	}
	b.hub.Close()
	if err := <-b.aborted; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := <-a.aborted; !errors.Is(err, ErrReset) {
		t.Fatal(err)
	}
}

// What comes before the first frame is heard, however it is cut up.
func TestHear(t *testing.T) {
	a, b := streams(t, Config{})
	fa, fb := sockets(t)
	hear := func(in []byte) (int, error) {
		if len(in) < 5 {
			return 0, ErrShort
		}
		if string(in[:5]) != "hello" {
			return 0, errors.New("not a leg")
		}
		return 5, nil
	}
	leg, err := a.stream.Join(fa, LegOptions{Hear: hear})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fb, []byte("hel")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.stream.Join(fb, LegOptions{Say: []byte("lo")}); err != nil {
		t.Fatal(err)
	}
	await(t, "the greeting", leg.Heard())
	converse(t, a, b, []byte("up"), []byte("down"))
	leavesNothing(t, a.hub, b.hub)
}

// FuzzLeg: whatever a peer sends ends the leg or the stream, and no more.
func FuzzLeg(f *testing.F) {
	f.Add(append(Header{Data, 2, 0}.AppendTo(nil), "abc"...))
	f.Add(Header{Fin, 0, 0}.AppendTo(Header{Ack, 0, 1}.AppendTo(nil)))
	f.Add(Header{Reset, 0, 0}.AppendTo(nil))
	h := NewHub(Config{})
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, in []byte) {
		e := owner(t, h, Key{"fuzz", NewID()})
		defer e.let(errGivenUp)
		fa, fb := sockets(t)
		leg, err := e.stream.Join(fa, LegOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = unix.Write(fb, in)
		unix.Close(fb)
		await(t, "the end of the leg", leg.Gone())
	})
}
