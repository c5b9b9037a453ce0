// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

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
