// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Socket is a listening socket with what it takes to serve it in another
// process, which may be passed as JSON. It is used again for a listener whose
// address and options are the same.
type Socket struct {
	FD      int
	Address netip.AddrPort // as the listener has it
	Options mptcp.ListenOptions
	Name    string               // of the listener where the port is 0, else empty
	Reason  mptcp.FallbackReason // why it is not MPTCP, if it is not
}

// Sockets are those that are listened on. The descriptors belong to the server,
// and are valid until the next Apply or Shutdown.
func (s *Server) Sockets() []Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Socket, 0, len(s.bindings))
	for key, b := range s.bindings {
		all = append(all, Socket{FD: b.fd, Address: key.addr, Options: key.socket, Name: key.name, Reason: b.reason})
	}
	return all
}

// Inherit takes over listening sockets of another process, for the first Apply
// to use. That closes those which no listener wants, and leaves the connections
// that wait in them to the other process. On an error nothing is taken over.
func (s *Server) Inherit(sockets []Socket) error {
	inherited := map[bindingKey]*binding{}
	for _, k := range sockets {
		b, err := inherit(&k)
		if err != nil {
			return fmt.Errorf("take over the socket of %s: %w", k.Address, err)
		}
		inherited[bindingKey{addr: k.Address, socket: k.Options, name: k.Name}] = b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, b := range inherited {
		s.bindings[key] = b
	}
	return nil
}

func inherit(k *Socket) (*binding, error) {
	listens, err := unix.GetsockoptInt(k.FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, err
	}
	if listens == 0 {
		return nil, fmt.Errorf("descriptor %d does not listen", k.FD)
	}
	protocol, err := unix.GetsockoptInt(k.FD, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(k.FD, true); err != nil {
		return nil, err
	}
	b := &binding{fd: k.FD, inherited: true, mptcp: protocol == unix.IPPROTO_MPTCP, reason: k.Reason}
	b.addr, err = mptcp.LocalAddr(k.FD)
	return b, err
}
