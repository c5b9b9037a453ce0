// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
)

// answerer serves Answer on one event loop.
type answerer struct {
	loop    *event.Loop
	payload [ExchangeSize]byte
	scratch [4 * ExchangeSize]byte

	listeners []*answerListener
}

// question is a connection of an answerer.
type question struct {
	socket event.Socket
	a      *answerer
	got    int
}

// answerListener is a listening socket of an answerer.
type answerListener struct {
	socket event.Socket
	a      *answerer
}

func newAnswerer() (*answerer, error) {
	loop, err := event.NewLoop()
	if err != nil {
		return nil, err
	}
	return &answerer{loop: loop}, nil
}

// listen adds a listening socket, before the loop runs.
func (a *answerer) listen(addr netip.AddrPort, o mptcp.ListenOptions) error {
	l, err := mptcp.Listen(addr, o)
	if err != nil {
		return err
	}
	ln := &answerListener{socket: event.Socket{FD: l.FD}, a: a}
	a.listeners = append(a.listeners, ln)
	return a.loop.RegisterListener(&ln.socket, ln)
}

// serve answers until ctx ends.
func (a *answerer) serve(ctx context.Context) error {
	defer func() {
		for _, l := range a.listeners {
			unix.Close(l.socket.FD)
		}
	}()
	return a.loop.Run(ctx)
}

// Ready implements event.Handler.
func (l *answerListener) Ready(*event.Socket) {
	for {
		fd, _, err := mptcp.Accept(l.socket.FD)
		if err != nil {
			return // level-triggered: it is called again if that was not the last one
		}
		q := &question{socket: event.Socket{FD: fd}, a: l.a}
		if err := l.a.loop.Register(&q.socket, q); err != nil {
			unix.Close(fd)
		}
	}
}

// Ready implements event.Handler.
func (q *question) Ready(*event.Socket) {
	for q.socket.Readable {
		n, err := read(&q.socket, q.a.scratch[:])
		if err != nil {
			q.a.loop.Close(&q.socket)
			return
		}
		for q.got += n; q.got >= ExchangeSize; q.got -= ExchangeSize {
			if err := write(&q.socket, q.a.payload[:]); err != nil {
				q.a.loop.Close(&q.socket)
				return
			}
		}
	}
}
