// SPDX-License-Identifier: Apache-2.0

package redundant

import (
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
