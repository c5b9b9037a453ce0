// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// kind is what a client asks the server for.
type kind uint8

const (
	// exchange: the server takes the request, pauses, and answers.
	exchange kind = iota + 1
	// stamp: the server takes the request and answers with the time at which
	// it was complete.
	stamp
	// stream: the server sends as many messages as answer says, each of as many
	// bytes as request says, one every pause, or as fast as they are taken. A
	// message begins with the time at which it was due.
	stream
)

// ask is what begins each request.
type ask struct {
	kind kind
	// request is the size of the request, this included; of a stream, of a
	// message.
	request uint64
	// answer is the size of the answer; of a stream, the number of messages.
	answer uint64
	// pause is at most 71 minutes, in microseconds.
	pause time.Duration
}

const (
	askSize   = 24
	stampSize = 8
	maxBytes  = 1 << 40
	// maxMessage is the longest message of a stream in bytes.
	maxMessage = 1 << 20
)

var errAsk = errors.New("not a request of this protocol")

func (a ask) appendTo(b []byte) []byte {
	b = append(b, 'w', 'l', '1', byte(a.kind))
	b = binary.BigEndian.AppendUint32(b, uint32(a.pause/time.Microsecond))
	b = binary.BigEndian.AppendUint64(b, a.request)
	return binary.BigEndian.AppendUint64(b, a.answer)
}

// parseAsk reads the askSize bytes of b.
func parseAsk(b *[askSize]byte) (ask, error) {
	a := ask{
		kind:    kind(b[3]),
		pause:   time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Microsecond,
		request: binary.BigEndian.Uint64(b[8:]),
		answer:  binary.BigEndian.Uint64(b[16:]),
	}
	switch {
	case string(b[:3]) != "wl1" || a.kind < exchange || a.kind > stream:
		return a, errAsk
	case a.kind == stream && (a.request < stampSize || a.request > maxMessage || a.answer > maxBytes):
		return a, fmt.Errorf("%w: stream of %d messages of %d bytes", errAsk, a.answer, a.request)
	case a.kind != stream && (a.request < askSize || a.request > maxBytes || a.answer > maxBytes):
		return a, fmt.Errorf("%w: %d bytes for %d", errAsk, a.answer, a.request)
	}
	return a, nil
}

// clock is the machine's monotonic time, which is the same in all processes.
func clock() time.Duration {
	var t unix.Timespec
	// CLOCK_MONOTONIC is always there.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}

func appendTime(b []byte, t time.Duration) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t))
}

func parseTime(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint64(b)) }
