// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a loop until the test ends.
func start(t *testing.T) *Loop {
	t.Helper()
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// on runs f on the loop and waits for it.
func on(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := l.Post(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

func socketpair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

type handler func(*Socket)

func (h handler) Ready(s *Socket) { h(s) }

func TestReadinessIsReportedAndEdgeTriggered(t *testing.T) {
	l := start(t)
	a, b := socketpair(t)
	defer unix.Close(b)
	s := &Socket{FD: a}
	got := make(chan Socket, 16)
	on(t, l, func() {
		if err := l.Register(s, handler(func(s *Socket) { got <- *s })); err != nil {
			t.Error(err)
		}
	})
	first := <-got
	if !first.Writable || first.Readable {
		t.Fatalf("fresh socket: %+v, want writable only", first)
	}
	on(t, l, func() { s.Writable = false })
	if _, err := unix.Write(b, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if second := <-got; !second.Readable {
		t.Fatalf("after a write: %+v, want readable", second)
	}
	unix.Shutdown(b, unix.SHUT_WR)
	if third := <-got; !third.Hangup {
		t.Fatalf("after the end: %+v, want hangup", third)
	}
	on(t, l, func() { l.Close(s); l.Close(s) })
}

func TestStaleEventsOfAReusedDescriptorAreDropped(t *testing.T) {
	l := start(t)
	a, b := socketpair(t)
	defer unix.Close(b)
	calls := 0
	on(t, l, func() {
		s := &Socket{FD: a}
		if err := l.Register(s, handler(func(*Socket) { calls++ })); err != nil {
			t.Error(err)
		}
		stale := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(a), Pad: l.slot(a).gen}
		l.Unregister(s)
		next := &Socket{FD: a}
		if err := l.Register(next, handler(func(*Socket) {})); err != nil {
			t.Error(err)
		}
		l.dispatch(&stale)
		l.Close(next)
	})
	if calls != 0 {
		t.Fatalf("the handler of a socket that is gone was called %d times", calls)
	}
}

func TestMoveKeepsTheRegistration(t *testing.T) {
	l := start(t)
	a, b := socketpair(t)
	defer unix.Close(b)
	got := make(chan *Socket, 16)
	var dst Socket
	on(t, l, func() {
		src := &Socket{FD: a}
		if err := l.Register(src, handler(func(*Socket) { t.Error("the old handler was called") })); err != nil {
			t.Error(err)
		}
		l.Move(&dst, src, handler(func(s *Socket) { got <- s }))
		l.Close(src)
	})
	if s := <-got; s != &dst || !s.Writable {
		t.Fatalf("got %+v, want the moved socket, writable", s)
	}
	on(t, l, func() { l.Close(&dst) })
}

func TestAgainComesAfterTheOthers(t *testing.T) {
	l := start(t)
	a, b := socketpair(t)
	var order []string
	done := make(chan struct{})
	on(t, l, func() {
		turns := 0
		sa, sb := &Socket{FD: a}, &Socket{FD: b}
		greedy := handler(func(s *Socket) {
			order = append(order, "greedy")
			if turns++; turns < 3 {
				l.Again(s)
				l.Again(s) // asking twice is one turn
				return
			}
			l.Close(sa)
			l.Close(sb)
			close(done)
		})
		if err := errors.Join(l.Register(sa, greedy), l.Register(sb, handler(func(*Socket) { order = append(order, "other") }))); err != nil {
			t.Error(err)
		}
	})
	<-done
	if want := []string{"greedy", "other", "greedy", "greedy"}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
}

func TestTimersFireInOrderAndCanBeMovedAndDisarmed(t *testing.T) {
	l := start(t)
	var order []int
	done := make(chan struct{})
	on(t, l, func() {
		now := l.Now()
		timers := make([]*Timer, 4)
		for i := range timers {
			timers[i] = &Timer{Func: func() {
				order = append(order, i)
				if i == 0 {
					close(done)
				}
			}}
			l.Arm(timers[i], now.Add(time.Duration(i)*time.Millisecond))
		}
		l.Arm(timers[0], now.Add(10*time.Millisecond))
		l.Disarm(timers[2])
		l.Disarm(timers[2])
	})
	<-done
	if want := []int{1, 3, 0}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
}

func TestPostAfterTheEndIsRefused(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	if err := l.Post(func() { ran = true }); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if !ran {
		t.Error("what was posted before the end was dropped")
	}
	if err := l.Post(func() {}); !errors.Is(err, ErrClosed) {
		t.Errorf("Post after the end: %v, want ErrClosed", err)
	}
}

func BenchmarkPingPong(b *testing.B) {
	l, err := NewLoop()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	var buf [1]byte
	left := b.N
	bounce := handler(func(s *Socket) {
		for {
			if _, err := unix.Read(s.FD, buf[:]); err != nil {
				return
			}
			if left--; left <= 0 {
				cancel()
				return
			}
			_, _ = unix.Write(s.FD, buf[:])
		}
	})
	x, y := &Socket{FD: fds[0]}, &Socket{FD: fds[1]}
	if err := errors.Join(l.Register(x, bounce), l.Register(y, bounce)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	_, _ = unix.Write(fds[0], buf[:])
	if err := l.Run(ctx); err != nil {
		b.Fatal(err)
	}
	unix.Close(fds[0])
	unix.Close(fds[1])
}

// TestUrgent: a read stops short at urgent data, and what is behind that raises
// no event of its own.
func TestUrgent(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	fd, _, err := unix.Accept4(listenerFD(t, ln), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	// All of it is there before the socket is looked at.
	send := func(b string, flags int) {
		t.Helper()
		raw, err := peer.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		if err := errors.Join(raw.Write(func(fd uintptr) bool { failed = unix.Send(int(fd), []byte(b), flags); return true }), failed); err != nil {
			t.Fatal(err)
		}
	}
	send("before", 0)
	send("!", unix.MSG_OOB)
	send("after", 0)
	s := &Socket{FD: fd, Plain: true}
	got := make(chan string, 1)
	var all []byte
	l := start(t)
	on(t, l, func() {
		err := l.Register(s, handler(func(s *Socket) {
			for s.Readable {
				var b [64]byte
				n, err := unix.Read(s.FD, b[:])
				s.Readable = err == nil && !s.Drained()
				all = append(all, b[:max(n, 0)]...)
			}
			if len(all) == len("beforeafter") {
				got <- string(all)
			}
		}))
		if err != nil {
			t.Error(err)
		}
	})
	select {
	case s := <-got:
		if s != "beforeafter" {
			t.Errorf("read %q", s)
		}
	case <-time.After(30 * time.Second):
		t.Error("what came after urgent data was not read")
	}
	on(t, l, func() { l.Close(s) })
}

func listenerFD(t *testing.T, ln net.Listener) int {
	t.Helper()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := -1
	if err := raw.Control(func(fd uintptr) { n = int(fd) }); err != nil {
		t.Fatal(err)
	}
	return n
}
