// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Service is what a source does with a connection.
type Service uint8

// The services. Each has a TCP and an MPTCP port; relays connect to the former,
// clients without a relay to that of their own protocol.
const (
	Sink   Service = iota // receives to the end, then confirms the number of bytes
	Flood                 // sends for ever
	Answer                // answers each request of ExchangeSize bytes
	services
)

// Service that a workload speaks with.
func (w Workload) Service() Service {
	switch w {
	case BulkUp:
		return Sink
	case BulkDown:
		return Flood
	}
	return Answer
}

const basePort = 9000

// Port of a service.
func (s Service) Port(mptcp bool) uint16 {
	port := basePort + uint16(s)
	if mptcp {
		port += uint16(services)
	}
	return port
}

// ServeSource serves all services on an address until ctx ends. It calls ready
// when clients may connect.
func ServeSource(ctx context.Context, addr netip.Addr, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	answers, err := newAnswerer()
	if err != nil {
		return err
	}
	for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModeRequire} {
		options := mptcp.ListenOptions{Mode: mode, Socket: mptcp.SocketOptions{NoDelay: true}}
		for service, serve := range map[Service]func(*net.TCPConn){Sink: sink, Flood: flood} {
			at := netip.AddrPortFrom(addr, service.Port(mode != mptcp.ModeOff))
			l, err := mptcp.NewListener(at, options)
			if err != nil {
				return err
			}
			serving.Go(func() { accept(ctx, l, serve) })
		}
		if err := answers.listen(netip.AddrPortFrom(addr, Answer.Port(mode != mptcp.ModeOff)), options); err != nil {
			return err
		}
	}
	ready()
	return answers.serve(ctx)
}

// accept serves connections until ctx ends.
func accept(ctx context.Context, l *net.TCPListener, serve func(*net.TCPConn)) {
	var serving sync.WaitGroup
	defer serving.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client gave up
		}
		serving.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			serve(c)
		})
	}
}

func sink(c *net.TCPConn) {
	buf := make([]byte, chunk)
	var total uint64
	for {
		n, err := c.Read(buf)
		total += uint64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return // reset: nobody is there to be told
		}
	}
	_, _ = c.Write(binary.BigEndian.AppendUint64(nil, total))
}

// nothing is what flood sends on all connections.
var nothing [chunk]byte

func flood(c *net.TCPConn) {
	for {
		if _, err := c.Write(nothing[:]); err != nil {
			return // the client has had enough
		}
	}
}

// String names a service.
func (s Service) String() string {
	switch s {
	case Sink:
		return "sink"
	case Flood:
		return "flood"
	case Answer:
		return "answer"
	}
	return fmt.Sprintf("service(%d)", uint8(s))
}
