// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
)

// acceptor is one listening socket as one worker watches it.
type acceptor struct {
	worker  *worker
	binding *binding
	socket  event.Socket
}

// watch begins to accept on b.
func (w *worker) watch(b *binding) error {
	a := &acceptor{worker: w, binding: b, socket: event.Socket{FD: b.fd}}
	if !w.starving {
		if err := w.loop.RegisterListener(&a.socket, a); err != nil {
			return err
		}
	}
	w.accepts[b] = a
	return nil
}

// unwatch stops accepting on b.
func (w *worker) unwatch(b *binding) {
	if a := w.accepts[b]; a != nil {
		w.loop.Unregister(&a.socket)
		delete(w.accepts, b)
	}
}

// Ready implements event.Handler: connections wait to be accepted.
func (a *acceptor) Ready(*event.Socket) {
	for range acceptBatch {
		if a.worker.starving {
			return
		}
		if err := a.worker.accept(a.binding); err != nil {
			if err == unix.EAGAIN {
				a.worker.server.recovered()
			} else {
				a.worker.starve(a.binding.listener.Load(), err)
			}
			return
		}
	}
}

// accept takes one connection, or what was one.
func (w *worker) accept(b *binding) error {
	fd, remote, err := mptcp.Accept(b.fd)
	switch err {
	case nil:
	case unix.ECONNABORTED, unix.EPROTO, unix.EPERM:
		return nil // that one client gave up, or was given up; the next may not have been
	default:
		return err
	}
	l := b.listener.Load()
	w.listeners.of(l.Name).accepted.Add(1)
	if l.Sources != nil && !l.Sources.Allows(remote.Addr()) {
		w.refuse(l, remote, RefusedSource, errSource)
		mptcp.CloseReset(fd)
		return nil
	}
	to := w.server.leastBusy(w)
	to.active.Add(1)
	if to != w && to.loop.Post(func() { to.begin(fd, remote, l, b) }) == nil {
		return nil
	}
	w.begin(fd, remote, l, b)
	return nil
}

// leastBusy is the worker to have a new connection: the one that accepted it,
// unless another has clearly fewer. The kernel wakes whoever waits, which with
// little to do is always the same worker, and big flows would all share its
// one core.
func (s *Server) leastBusy(w *worker) *worker {
	most := w.active.Load()
	most -= 1 + most/8
	for _, other := range s.workers {
		if n := other.active.Load(); n < most {
			w, most = other, n
		}
	}
	return w
}

// starve rests when the process is out of descriptors or memory: connections
// wait in the kernel's queue, those that exist live on.
func (w *worker) starve(l *Listener, err error) {
	w.starving = true
	w.pauses.Add(1)
	w.server.starved(l.Name, err)
	for _, a := range w.accepts {
		w.loop.Unregister(&a.socket)
	}
	w.loop.Arm(&w.resume, w.loop.Now().Add(acceptPause))
}

// accepting goes on after a rest, unless connections that have been accepted
// still wait for a descriptor towards their servers.
func (w *worker) accepting() {
	if w.server.hunger.waiting.Load() > 0 {
		w.loop.Arm(&w.resume, w.loop.Now().Add(acceptPause))
		return
	}
	w.starving = false
	for _, a := range w.accepts {
		if err := w.loop.RegisterListener(&a.socket, a); err != nil {
			w.starve(a.binding.listener.Load(), err)
			return
		}
	}
}
