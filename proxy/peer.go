// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

const (
	// fastOpenRest is how long data is kept out of SYNs after it seems to have
	// been dropped with one; twice as long each time that it happens again, as
	// in the kernel (tcp_fastopen_cookie_check in net/ipv4/tcp_fastopen.c).
	fastOpenRest    = time.Minute
	maxFastOpenRest = time.Hour
)

// peer is what hops have in common that lead through a converter or a proxy.
type peer struct {
	name      string
	addresses []netip.AddrPort
	connect   mptcp.ConnectOptions

	mu    sync.Mutex   // for those who write what follows
	rest  atomic.Int64 // how long Fast Open rested when it failed last, in ns; 0: it works
	until atomic.Int64 // when to try it again, in ns since 1970
}

// Name implements Hop.
func (p *peer) Name() string { return p.name }

// Addresses implements Hop.
func (p *peer) Addresses() []netip.AddrPort { return p.addresses }

// Options implements Hop.
func (p *peer) Options(*Client, *Request, netip.AddrPort) mptcp.ConnectOptions {
	o := p.connect
	o.FastOpen = o.FastOpen && p.fastOpen(time.Now())
	return o
}

// Report implements Hop. A connection that lost MPTCP over its data in the SYN
// tells of an access network that drops such SYNs.
func (p *peer) Report(_ *Request, status mptcp.Status, _ error) {
	if p.connect.FastOpen && (status.MPTCP || status.Reason == mptcp.FastOpen) {
		p.fastOpened(status.MPTCP, time.Now())
	}
}

// fastOpen reports whether Fast Open may be used.
func (p *peer) fastOpen(now time.Time) bool {
	return now.UnixNano() >= p.until.Load()
}

// fastOpened notes how a connection went.
func (p *peer) fastOpened(well bool, now time.Time) {
	if well && p.rest.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.fastOpen(now):
		// It began before the present rest, or without Fast Open.
	case well:
		p.rest.Store(0)
	default:
		rest := min(max(2*time.Duration(p.rest.Load()), fastOpenRest), maxFastOpenRest)
		p.rest.Store(int64(rest))
		p.until.Store(now.Add(rest).UnixNano())
	}
}

// dial connects for a check, to the first address that answers. The connection
// ends with ctx.
func (p *peer) dial(ctx context.Context) (*mptcp.Conn, error) {
	d := mptcp.Dialer{ConnectOptions: p.connect}
	failures := []error{errNoAddress}
	for i, a := range p.addresses {
		share := ctx
		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(p.addresses)-i))
			defer cancel()
		}
		c, err := d.DialContext(share, "tcp", a.String())
		if err == nil {
			return c, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures[min(1, len(p.addresses)):]...)
}

// converse speaks for a check until answer is satisfied with all that the peer
// has sent: it returns how many bytes it has consumed, what to send next, and
// ErrMore, nil to be called again, or errDone.
func converse(ctx context.Context, c *mptcp.Conn, send []byte, answer func(in []byte) (n int, send []byte, err error)) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, 0, openingBuffer)
	for {
		if _, err := c.Write(send); err != nil {
			return err
		}
		n, next, err := answer(buffer)
		buffer = buffer[:copy(buffer, buffer[n:])]
		send = next
		switch {
		case errors.Is(err, errDone):
			return nil
		case errors.Is(err, ErrMore):
			if len(buffer) == cap(buffer) {
				return errAnswerTooLong
			}
			n, err := c.Read(buffer[len(buffer):cap(buffer)])
			switch {
			case n > 0:
			case errors.Is(err, io.EOF):
				return errEarlyEnd
			case err != nil:
				return err
			}
			buffer = buffer[:len(buffer)+n]
		case err != nil:
			return err
		}
	}
}

// errDone ends converse.
var errDone = errors.New("peer has answered")
