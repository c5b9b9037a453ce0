// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/redundant"
)

// carried is a FrontEnd whose clients may come through redundant streams.
type carried interface {
	FrontEnd
	// GreetCarried begins the handshake within a stream, of whose legs each one
	// was greeted.
	GreetCarried(c *Client) Handshake
}

// GreetCarried implements carried.
func (f *ConvertFront) GreetCarried(c *Client) Handshake {
	return &convertHandshake{server: f.inner, client: c}
}

// join makes the client's connection a leg of the stream that it names. The
// session goes on with a stream that is new, and ends otherwise.
func (s *session) join() {
	o, loop, client := s.opening, s.worker.loop, &s.pair.Ends[relay.Client]
	key := redundant.Key{Scope: s.listener.Name, ID: o.request.Stream}
	stream, isNew, err := s.worker.server.streams.Find(key, o.request.Instance)
	var ended *redundant.EndedError
	switch {
	case errors.As(err, &ended):
		s.serve()
		answer := o.handshake.Reply(nil, Outcome{Instance: ended.Instance})
		s.farewell(s.say(append(answer, ended.Last...)))
		return
	case errors.Is(err, redundant.ErrUnknown):
		s.fail(err)
		return
	case err != nil:
		s.reject(RefusedShutdown, err)
		return
	}
	if isNew {
		s.carry(relay.Client, stream)
	}
	loop.Unregister(client)
	delete(s.worker.embryos, s) // the stream says what it has to by itself
	answer := o.handshake.Reply(nil, Outcome{Instance: stream.Instance()})
	_, err = stream.Join(client.FD, redundant.LegOptions{Say: answer, Early: slices.Clone(o.in)})
	if err != nil {
		s.reject(RefusedResources, err)
		return
	}
	client.FD = -1
	if !isNew {
		s.serve()
		s.end(nil, false)
		return
	}
	s.goOn(stream)
}

// goOn begins anew with what comes through a stream.
func (s *session) goOn(stream *redundant.Stream) {
	o, loop := s.opening, s.worker.loop
	fd, err := s.attach(relay.Client, stream)
	if err != nil {
		s.reject(RefusedResources, err)
		return
	}
	inner := event.Socket{FD: fd}
	if err := loop.Register(&inner, s); err != nil {
		unix.Close(fd)
		s.reject(RefusedResources, err)
		return
	}
	loop.Move(&s.pair.Ends[relay.Client], &inner, s)
	o.client.FD = fd
	o.in, o.request = o.in[:0], nil
	o.handshake = s.listener.FrontEnd.(carried).GreetCarried(&o.client)
	s.phase = greeting
	s.deadline(s.listener.Timeouts.Handshake)
	s.greet()
}

// attach connects an end of the session with a stream, and returns its
// descriptor.
func (s *session) attach(end int, stream *redundant.Stream) (fd int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket pair: %w", err)
	}
	s.carry(end, stream)
	stream.Start(pair[1], func(err error) {
		// A loop that has ended has ended its sessions too.
		_ = s.worker.loop.Post(func() { s.lost(end, stream, err) })
	})
	return pair[0], nil
}

// carry notes that an end of the session is carried by a stream.
func (s *session) carry(end int, stream *redundant.Stream) {
	if s.streams == nil {
		s.streams = new([2]*redundant.Stream)
	}
	s.streams[end] = stream
}

// carriedBy is the stream of an end, nil if it is a connection.
func (s *session) carriedBy(end int) *redundant.Stream {
	if s.streams == nil {
		return nil
	}
	return s.streams[end]
}

// release says that the socket of an end is closed, if it was that of a stream.
func (s *session) release(end int, err error) {
	if stream := s.carriedBy(end); stream != nil {
		s.streams[end] = nil
		stream.Release(err)
	}
}

// lost is called when a stream was aborted. It may have been released by then.
func (s *session) lost(end int, stream *redundant.Stream, err error) {
	switch {
	case s.carriedBy(end) != stream:
	case s.phase == dialling && end == relay.Server:
		if errors.Is(err, errUnasked) {
			s.opening.dial.sent = 0 // the client's bytes have reached nobody
		}
		s.opening.dial.broken(err)
	default:
		s.abort(err)
	}
}

// carrier is a Hop that leads through streams of its own.
type carrier interface {
	Hop
	carry(s *session) (fd int, err error)
}

// open begins a connection to addr, or what takes its place.
func (r *race) open(addr netip.AddrPort, opening []byte, o mptcp.ConnectOptions) (fd, sent int, err error) {
	if c, ok := r.d.hops[0].(carrier); ok {
		fd, err = c.carry(r.d.s)
		return fd, 0, err
	}
	return mptcp.StartConnect(addr, opening, o)
}
