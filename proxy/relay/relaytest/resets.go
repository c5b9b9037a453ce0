// SPDX-License-Identifier: Apache-2.0

package relaytest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// resets are the errors a socket reports after its peer has reset it.
var resets = []error{unix.ECONNRESET, unix.EPIPE}

// awaitReset waits until the connection has been reset, without reading from
// it or writing to it.
func awaitReset(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for {
		var got int
		ctlErr := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			if _, err = unix.Poll(p, max(int(time.Until(deadline).Milliseconds()), 0)); err != nil {
				return
			}
			got, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		})
		switch {
		case ctlErr != nil:
			return ctlErr
		case err == unix.EINTR:
		case err != nil:
			return err
		case got == int(unix.ECONNRESET) || got == int(unix.EPIPE):
			return nil
		case got != 0:
			return fmt.Errorf("socket error %w, want a reset", unix.Errno(got))
		case time.Now().After(deadline):
			return errors.New("no reset has arrived")
		}
	}
}

// reset resets one end in all states that its streams can be in, and expects
// the other end to be reset at once.
func (s *suite) reset(t *testing.T) {
	cases := []struct {
		name    string
		prepare func(t *testing.T, x side)
	}{
		{"fresh", func(*testing.T, side) {}},
		{"used", func(t *testing.T, x side) {
			err := errors.Join(
				newSender(x.near, x.seed, chunk).send(chunk), newReceiver(x.far, x.seed, chunk).receive(chunk),
				newSender(x.far, x.back, chunk).send(chunk), newReceiver(x.near, x.back, chunk).receive(chunk))
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"half-closed by it", func(t *testing.T, x side) {
			x.near.CloseWrite()
			if err := newReceiver(x.far, x.seed, 1).toEnd(0); err != nil {
				t.Fatal(err)
			}
		}},
		{"half-closed by the other", func(t *testing.T, x side) {
			x.far.CloseWrite()
			if err := newReceiver(x.near, x.back, 1).toEnd(0); err != nil {
				t.Fatal(err)
			}
		}},
		{"its bytes are not read", func(t *testing.T, x side) {
			if _, err := newSender(x.near, x.seed, chunk).push(); err != nil {
				t.Fatal(err)
			}
		}},
		{"it does not read", func(t *testing.T, x side) {
			if _, err := newSender(x.far, x.back, chunk).push(); err != nil {
				t.Fatal(err)
			}
		}},
		{"neither reads", func(t *testing.T, x side) {
			for _, from := range []*sender{newSender(x.near, x.seed, chunk), newSender(x.far, x.back, chunk)} {
				if _, err := from.push(); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s.bySide(t, Request{}, func(t *testing.T, c *Conn, x side) {
				tc.prepare(t, x)
				reset(x.near)
				if err := awaitReset(x.far); err != nil {
					t.Fatal(err)
				}
				c.ended(t, resets...)
			})
		})
	}
}

// randomResets resets one end while streams flow. What the other end gets must
// be the beginning of the stream, then a reset and never a clean end.
func (s *suite) randomResets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.IntRange(0, 1).Draw(t, "reset by")
		size := sizes().Draw(t, "bytes sent before")
		back := sizes().Draw(t, "bytes received before")
		more := rapid.SampledFrom([]int{0, 1, 1 << 20}).Draw(t, "bytes in flight")
		half := rapid.Bool().Draw(t, "half-closes before")
		c := s.join(t, Request{})
		defer c.Close()
		x := c.sides()[by]
		from := newReceiver(x.far, x.seed, chunk)
		var end, sent error
		err := both(func() error {
			return both(func() error {
				err := both(
					func() error { return newSender(x.near, x.seed, chunk).send(size) },
					func() error { return newReceiver(x.near, x.back, chunk).receive(back) })
				if half {
					x.near.CloseWrite()
				}
				reset(x.near)
				return err
			}, func() error {
				end = from.toError()
				return nil
			})
		}, func() error {
			// How far this gets after the reset is open.
			if sent = newSender(x.far, x.back, chunk).send(back + more); !isReset(sent) {
				return sent
			}
			return nil
		})
		if err != nil && resetLost(err) {
			return
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		if from.got > size {
			t.Fatalf("received %d bytes of %d", from.got, size)
		}
		switch {
		case isReset(end), isReset(sent):
			// The kernel reports a reset once, to whichever comes first.
		case half && end == io.EOF:
			if from.got != size {
				t.Fatalf("the stream ended after %d bytes, want %d", from.got, size)
			}
			if err := awaitReset(x.far); err != nil {
				t.Fatalf("%v", err)
			}
		default:
			t.Fatalf("received %d of %d bytes, then %v; want a reset", from.got, size, end)
		}
		c.ended(t, resets...)
	})
}

// resetLost tells whether a kernel has lost an MPTCP reset that somebody waited for
// in vain. It sends MP_FASTCLOSE once, and the peer takes it only in sequence: not
// if it has had to drop data before it because its window was full (seen with Linux
// 6.18 without any relay, 2 of 2641, with readers that take their time). Such a
// connection ends after net.mptcp.close_timeout.
func resetLost(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	b, readErr := os.ReadFile("/proc/thread-self/net/netstat")
	if readErr != nil {
		return false
	}
	counters := map[string]string{}
	lines := strings.Split(string(b), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := range min(len(names), len(values)) {
			counters[names[j]] = values[j]
		}
	}
	return counters["MPFastcloseTx"] != counters["MPFastcloseRx"]
}

func isReset(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}
