// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
