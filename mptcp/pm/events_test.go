// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/mptcp"
)

// listenOn opens and closes a listener on a host, which makes two events.
func listenOn(t *testing.T, h *lab.Host) netip.AddrPort {
	t.Helper()
	var local netip.AddrPort
	err := h.Do(func() error {
		l, err := mptcp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Mode: mptcp.ModeRequire})
		if err != nil {
			return err
		}
		defer unix.Close(l.FD)
		local, err = mptcp.LocalAddr(l.FD)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return local
}

// awaitListener waits for the events of listenOn.
func awaitListener(t *testing.T, events *Events, local netip.AddrPort) {
	t.Helper()
	awaitEvent(t, events, func(e ListenerCreated) bool { return e.Local == local })
	awaitEvent(t, events, func(e ListenerClosed) bool { return e.Local == local })
}

func TestListenerEvents(t *testing.T) {
	h := newHost(t)
	events := subscribeOn(t, h, Options{})
	awaitListener(t, events, listenOn(t, h))
}

// Lost events are told after the last one that was kept, and those that follow
// arrive.
func TestGap(t *testing.T) {
	h := newHost(t)
	events := subscribeOn(t, h, Options{Buffer: 4096})
	const listeners = 200
	first := listenOn(t, h)
	for range listeners {
		listenOn(t, h)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var kept []Event
	for e, err := range events.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e == (Gap{}) {
			break
		}
		kept = append(kept, e)
	}
	if len(kept) == 0 || len(kept) > listeners || kept[0] != (ListenerCreated{first}) {
		t.Errorf("kept %d events: %+v", len(kept), kept)
	}
	awaitListener(t, events, listenOn(t, h))
}

// Cancelling ends a Next that waits, and the next one works.
func TestNextCancelled(t *testing.T) {
	h := newHost(t)
	events := subscribeOn(t, h, Options{})
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := events.Next(ctx)
			done <- err
		}()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	if _, err := events.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cancel()
	awaitListener(t, events, listenOn(t, h))
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	listenOn(t, h)
	if e, err := events.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestCloseEndsAll(t *testing.T) {
	h := newHost(t)
	events := subscribeOn(t, h, Options{})
	local := listenOn(t, h)
	var seen []Event
	var last error
	for e, err := range events.All(context.Background()) {
		if last = err; err != nil {
			break
		}
		if seen = append(seen, e); len(seen) == 2 {
			go events.Close()
		}
	}
	if !errors.Is(last, net.ErrClosed) {
		t.Errorf("ended by %v", last)
	}
	if len(seen) != 2 || seen[0] != (ListenerCreated{local}) || seen[1] != (ListenerClosed{local}) {
		t.Errorf("saw %+v", seen)
	}
}

func TestWithoutPrivilege(t *testing.T) {
	err := newHost(t).Do(func() error {
		// The thread keeps the other user, and ends with the goroutine.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			return errno
		}
		if _, err := Subscribe(Options{}); !errors.Is(err, os.ErrPermission) {
			t.Errorf("subscribed: %v", err)
		}
		c, err := Dial(Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Limits(); err != nil {
			t.Errorf("limits: %v", err)
		}
		if err := c.FlushEndpoints(); !errors.Is(err, os.ErrPermission) {
			t.Errorf("flushed: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
