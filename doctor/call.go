// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
)

// callTimeout is how long an aggregator may take to answer.
const callTimeout = 3 * time.Second

// Why Fast Open did not work.
var (
	errNoCookie = errors.New("the aggregator gave no cookie, or this kernel does not use it")
	errSYNData  = errors.New("data in the SYN was not acknowledged")
)

// caller has one aggregator answer over one link.
type caller struct {
	aggregator *Aggregator
	link       *link
	converter  *converter.Dialer // remembers the cookie of the Convert protocol
}

// call is what one connection showed.
type call struct {
	status   mptcp.Status
	fastOpen error // nil: data travelled in the SYN and was taken
}

func newCaller(a *Aggregator, l *link) *caller {
	config := converter.DialerConfig{AllowLoopback: a.Address.Addr().IsLoopback()}
	return &caller{aggregator: a, link: l, converter: converter.NewDialer(config)}
}

// call connects, asks what the aggregator supports, and waits for the answer.
func (c *caller) call(ctx context.Context, fastOpen bool) (call, error) {
	if c.aggregator.Protocol == SOCKS5 {
		return c.connection(ctx, fastOpen, socksGreeting, readMethod)
	}
	x := c.converter.Inform()
	for {
		result, err := c.connection(ctx, fastOpen, x.AppendRequest(nil, time.Now()), func(in []byte) error {
			_, _, err := x.Read(in, time.Now())
			return err
		})
		if !errors.Is(err, converter.ErrRetry) {
			return result, err
		}
	}
}

// socksGreeting offers no authentication, and passwords (RFC 1928 section 3).
var socksGreeting = []byte{5, 2, 0, 2}

var errNotSOCKS5 = errors.New("the answer is not SOCKS5")

// readMethod reads the answer to it.
func readMethod(in []byte) error {
	switch {
	case len(in) < 2:
		return wire.ErrShort
	case in[0] != 5:
		return fmt.Errorf("%w: %x", errNotSOCKS5, in[:2])
	}
	return nil // it speaks SOCKS5, whatever it has chosen
}

// connection sends a request and gives read all that has come back, until that
// is no longer too short.
func (c *caller) connection(ctx context.Context, fastOpen bool, request []byte, read func([]byte) error) (call, error) {
	deadline := time.Now().Add(callTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	fd, sent, err := mptcp.StartConnect(c.aggregator.Address, request, mptcp.ConnectOptions{
		Mode: c.aggregator.Mode, Local: netip.AddrPortFrom(c.link.address, 0), FastOpen: fastOpen,
		Socket: mptcp.SocketOptions{Mark: c.aggregator.Mark, Device: c.aggregator.Device},
	})
	if err != nil {
		return call{}, err
	}
	defer unix.Close(fd)
	if err := exchange(ctx, fd, request[sent:], read, deadline); err != nil {
		return call{}, err
	}
	result := call{}
	if result.status, err = mptcp.Dialed(fd, c.aggregator.Mode); err != nil {
		return call{}, err
	}
	if !result.status.MPTCP {
		if reason, err := mptcp.Explain(fd); err == nil && reason != mptcp.None {
			result.status.Reason = reason
		}
	}
	result.fastOpen = fastOpenOutcome(fd, sent)
	return result, nil
}

func fastOpenOutcome(fd, sent int) error {
	if sent == 0 {
		return errNoCookie
	}
	info, err := mptcp.TCPInfoOf(fd)
	if err != nil {
		return err
	}
	switch info.FastOpenFailure {
	case mptcp.FastOpenDataNotAcked, mptcp.FastOpenSYNRetransmitted:
		return errSYNData
	}
	return nil
}

// exchange writes and reads on a socket that does not block.
func exchange(ctx context.Context, fd int, request []byte, read func([]byte) error, deadline time.Time) error {
	if err := await(ctx, fd, unix.POLLOUT, deadline); err != nil {
		return err
	}
	if err := mptcp.ConnectError(fd); err != nil {
		return err
	}
	if len(request) > 0 {
		if _, err := unix.Write(fd, request); err != nil { // a new socket has room for all of it
			return fmt.Errorf("send the request: %w", err)
		}
	}
	var in bytes.Buffer
	chunk := make([]byte, 4096)
	for {
		if err := await(ctx, fd, unix.POLLIN, deadline); err != nil {
			return err
		}
		n, err := unix.Read(fd, chunk)
		switch {
		case errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("ended without an answer: %w", io.ErrUnexpectedEOF)
		}
		in.Write(chunk[:n])
		if err := read(in.Bytes()); !errors.Is(err, wire.ErrShort) {
			return err
		}
	}
}

// await waits until a socket is ready.
func await(ctx context.Context, fd int, events int16, deadline time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		// ctx is looked at now and then.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int(min(left, 100*time.Millisecond).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}
