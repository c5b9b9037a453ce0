// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// binding is a listening socket. Its settings are replaced by a reload; the
// socket with the connections that wait in it stays.
type binding struct {
	fd       int
	addr     netip.AddrPort
	mptcp    bool
	reason   mptcp.FallbackReason
	listener atomic.Pointer[Listener]
	// inherited from another process, and not watched yet
	inherited bool
}

// bindingKey tells whether a socket can be kept across a reload.
type bindingKey struct {
	addr   netip.AddrPort
	socket mptcp.ListenOptions
	name   string // of the listener where the port is left to the kernel
}

func keyFor(addr netip.AddrPort, l *Listener) bindingKey {
	k := bindingKey{addr: addr, socket: l.Socket}
	if addr.Port() == 0 {
		k.name = l.Name
	}
	return k
}

// negotiated is what an accepted connection has, and
// whether it is a TCP socket.
func (b *binding) negotiated(fd int) (s mptcp.Status, plain bool) {
	switch {
	case !b.mptcp:
		return mptcp.Status{Reason: b.reason}, true
	case mptcp.IsTCP(fd):
		return mptcp.Status{Reason: mptcp.PeerTCP}, true
	}
	s, _ = mptcp.Negotiated(fd) // an error is one of the connection: see there
	return s, false
}

// Bound is a listening socket as it came to be.
type Bound struct {
	Name    string
	Address netip.AddrPort
	MPTCP   bool
	Reason  mptcp.FallbackReason // why not MPTCP
}

// Apply makes listeners the ones that are served. Sockets whose address and
// options have not changed are kept with the connections that wait in them;
// from others the connections that wait are taken over. Connections that are
// served go on as they began. When a listener cannot be opened nothing is
// changed. After Shutdown the error is ErrShutdown.
func (s *Server) Apply(listeners []*Listener) ([]Bound, error) {
	return s.ApplyIf(listeners, func([]Bound) error { return nil })
}

// ApplyIf is Apply, unless agree returns an error: then it returns that, and
// nothing is changed either. Agree learns where the listeners will be. Until it
// returns, the sockets that are new let connections wait, and the others serve
// them as before. It must not call Apply, Sockets or Shutdown.
func (s *Server) ApplyIf(listeners []*Listener, agree func([]Bound) error) ([]Bound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, ErrShutdown
	}
	wanted := map[bindingKey]*Listener{}
	var order []bindingKey
	for _, l := range listeners {
		for _, addr := range l.Addresses {
			key := keyFor(addr, l)
			if other := wanted[key]; other != nil {
				return nil, fmt.Errorf("listener %s: %s is taken by listener %s", l.Name, addr, other.Name)
			}
			wanted[key] = l
			order = append(order, key)
		}
	}
	opened, err := s.openMissing(wanted, order)
	if err != nil {
		return nil, err
	}
	bound := make([]Bound, 0, len(order))
	for _, key := range order {
		b := opened[key]
		if b == nil {
			b = s.bindings[key]
		}
		bound = append(bound, Bound{wanted[key].Name, b.addr, b.mptcp, b.reason})
	}
	if err := agree(bound); err != nil {
		s.abandon(opened)
		return nil, err
	}
	s.replace(wanted, opened)
	return bound, nil
}

// openMissing opens the sockets that are wanted and do not exist, all of them
// or none. Ports that are only free once an old socket is gone are shared with
// it for the moment (SO_REUSEPORT), so that there is always one that listens.
func (s *Server) openMissing(wanted map[bindingKey]*Listener, order []bindingKey) (map[bindingKey]*binding, error) {
	opened := map[bindingKey]*binding{}
	leaving := map[uint16][]*binding{}
	for key, b := range s.bindings {
		if wanted[key] == nil {
			leaving[b.addr.Port()] = append(leaving[b.addr.Port()], b)
		}
	}
	// New ports come first: they fail more often, and before a port is shared.
	for _, shared := range []bool{false, true} {
		for _, key := range order {
			l, rivals := wanted[key], leaving[key.addr.Port()]
			if s.bindings[key] != nil || shared != (len(rivals) > 0) {
				continue
			}
			b, err := open(key.addr, l, rivals)
			if err != nil {
				s.abandon(opened)
				return nil, fmt.Errorf("listener %s: %w", l.Name, err)
			}
			opened[key] = b
		}
	}
	return opened, nil
}

// abandon closes sockets that are not wanted after all. The connections that wait
// in one which shared its port belong to the socket that stays. The caller holds
// s.mu.
func (s *Server) abandon(opened map[bindingKey]*binding) {
	for _, b := range opened {
		if l := s.listenerAt(b.addr); l != nil {
			b.listener.Store(l)
			s.retire(b)
		} else {
			unix.Close(b.fd)
		}
	}
}

// listenerAt is the one to which clients of an address come; nil for none. The
// caller holds s.mu.
func (s *Server) listenerAt(addr netip.AddrPort) *Listener {
	for _, b := range s.bindings {
		if b.addr == addr || b.addr.Port() == addr.Port() && b.addr.Addr().IsUnspecified() {
			return b.listener.Load()
		}
	}
	return nil
}

// open creates a listening socket, beside rivals on the same port. Port 0 is
// replaced by the one chosen.
func open(addr netip.AddrPort, l *Listener, rivals []*binding) (*binding, error) {
	o := l.Socket
	for _, b := range rivals {
		o.Socket.ReusePort = true
		// It may stay set: sockets without the option are still kept off.
		if err := unix.SetsockoptInt(b.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return nil, fmt.Errorf("share port %d: %w", addr.Port(), err)
		}
	}
	ls, err := mptcp.Listen(addr, o)
	if err != nil {
		return nil, err
	}
	local, err := mptcp.LocalAddr(ls.FD)
	if err != nil {
		unix.Close(ls.FD)
		return nil, err
	}
	b := &binding{fd: ls.FD, addr: local, mptcp: ls.MPTCP, reason: ls.Reason}
	b.listener.Store(l)
	return b, nil
}

// replace makes wanted the listeners that are served; those that are new have
// been opened. The caller holds s.mu.
func (s *Server) replace(wanted map[bindingKey]*Listener, opened map[bindingKey]*binding) {
	for key, b := range opened {
		s.bindings[key] = b
		s.watch(b)
	}
	for key, b := range s.bindings {
		if l := wanted[key]; l != nil {
			b.listener.Store(l)
			if b.inherited {
				b.inherited = false
				s.watch(b)
			}
			continue
		}
		s.retire(b)
		delete(s.bindings, key)
	}
}

// watch has all workers accept on b.
func (s *Server) watch(b *binding) {
	s.everyWorker(func(w *worker) {
		if err := w.watch(b); err != nil {
			s.log.Error("cannot watch listener", "listener", b.listener.Load().Name, "err", err)
		}
	})
}

// retire stops accepting on b and closes it, right after the connections that
// wait in it have been accepted.
func (s *Server) retire(b *binding) {
	if b.inherited {
		unix.Close(b.fd) // the other process accepts them
		return
	}
	s.everyWorker(func(w *worker) { w.unwatch(b) })
	closed := make(chan struct{})
	w := s.workers[0]
	empty := func() {
		defer close(closed)
		for w.accept(b) == nil {
		}
		unix.Close(b.fd)
	}
	if w.loop.Post(empty) != nil {
		unix.Close(b.fd) // the loop has ended
		return
	}
	<-closed
}
