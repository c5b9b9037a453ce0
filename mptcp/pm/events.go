// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// Events is a subscription to the events of one network namespace. Next and
// All are for one goroutine; Close is for any.
type Events struct {
	conn    *genetlink.Conn
	raw     syscall.RawConn
	family  uint16
	pending []genetlink.Message
	lost    bool // since the last Gap
	closed  atomic.Bool
}

// Subscribe starts a subscription. From its return on, events are kept by the
// kernel until Next takes them, as far as Options.Buffer goes, and the kernel
// accepts joins for connections of the userspace path manager. The error wraps
// mptcp.ErrUnsupported if the kernel has no MPTCP, and is EPERM without
// CAP_NET_ADMIN.
func Subscribe(o Options) (*Events, error) {
	conn, family, err := dial(o)
	if err != nil {
		return nil, fmt.Errorf("path manager events: %w", err)
	}
	if o.Buffer != 0 {
		if err := conn.SetReadBuffer(o.Buffer); err != nil {
			conn.Close()
			return nil, fmt.Errorf("path manager events: buffer of %d bytes: %w", o.Buffer, err)
		}
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = join(conn, family)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("path manager events: %w", err)
	}
	return &Events{conn: conn, raw: raw, family: family.ID}, nil
}

var errNoEvents = errors.New("kernel has no multicast group " + eventsGroup + ": needs Linux 5.13")

func join(conn *genetlink.Conn, family genetlink.Family) error {
	for _, group := range family.Groups {
		if group.Name == eventsGroup {
			return conn.JoinGroup(group.ID)
		}
	}
	return errNoEvents
}

// Next waits for an event. Where the kernel has lost some, Next returns Gap
// between those from before and those from after. The error is that of ctx,
// net.ErrClosed after Close, or one of netlink; after the first kind, Next may
// be called again.
func (e *Events) Next(ctx context.Context) (Event, error) {
	for {
		for len(e.pending) > 0 {
			m := e.pending[0]
			e.pending = e.pending[1:]
			event, err := parseEvent(m.Header.Command, m.Data)
			if err != nil {
				return nil, fmt.Errorf("path manager event %d: %w", m.Header.Command, err)
			}
			if event != nil {
				return event, nil
			}
		}
		// The kernel tells of a loss before it hands out what it has kept, and
		// drops all events until that has been taken (netlink_overrun and
		// netlink_rcv_wake in net/netlink/af_netlink.c).
		if e.lost && e.empty() {
			e.lost = false
			return Gap{}, nil
		}
		var err error
		e.pending, err = e.receive(ctx)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			if e.lost { // again, so all was taken in between
				return Gap{}, nil
			}
			e.lost = true
		case err != nil:
			return nil, err
		}
	}
}

// empty reports whether receive would wait.
func (e *Events) empty() bool {
	empty := true
	// Fails on a closed socket only, which receive will tell.
	_ = e.raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		empty = err == nil && n == 0
	})
	return empty
}

// All returns the events until there is an error, with that as the last pair.
func (e *Events) All(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := e.Next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the subscription, and a Next that waits.
func (e *Events) Close() error {
	e.closed.Store(true)
	return e.conn.Close()
}

// receive waits for messages until ctx ends.
func (e *Events) receive(ctx context.Context) ([]genetlink.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		// Fails only on a closed socket, on which nobody waits.
		_ = e.conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	messages, headers, err := e.conn.Receive()
	if !stop() {
		<-interrupted
		_ = e.conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err == nil:
	case e.closed.Load():
		return nil, fmt.Errorf("path manager events: %w", net.ErrClosed)
	case ctx.Err() != nil && isTimeout(err):
		return nil, ctx.Err()
	default:
		return nil, fmt.Errorf("path manager events: %w", err)
	}
	ours := messages[:0]
	for i, m := range messages {
		if uint16(headers[i].Header.Type) == e.family {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
