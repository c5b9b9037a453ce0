// SPDX-License-Identifier: Apache-2.0

// Package sockdiag asks the kernel for the MPTCP subflows of a network
// namespace: sock_diag(7), with the TCP sockets' information about MPTCP. Unlike
// the socket option MPTCP_FULL_INFO it needs no descriptor, tells the address
// identifiers, and answers for all connections at once.
package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// ErrGone reports that there is no such socket, or that it is no subflow.
var ErrGone = errors.New("no such subflow")

// Subflow is what the kernel tells of a TCP socket that belongs to an MPTCP
// connection.
type Subflow struct {
	Token         uint32 // local (RFC 8684 section 3.1)
	Local, Remote netip.AddrPort
	State         mptcp.TCPState
	LocalID       uint8 // address identifiers (RFC 8684 section 3.2)
	RemoteID      uint8
	First         bool // opened by MP_CAPABLE rather than MP_JOIN
	Active        bool // opened by this end
	Backup        bool // as either end asked for
	// Fully: both ends know that the connection is an MPTCP one, so that more
	// subflows may be opened.
	Fully     bool
	Interface int           // that the socket is bound to; 0 is none
	RTT       time.Duration // smoothed
	Sent      uint64        // bytes, without retransmissions
	Acked     uint64        // bytes of them
	Received  uint64        // bytes
	Unacked   uint32        // segments
	LastAck   time.Duration // since the peer acknowledged something
}

// Conn asks one network namespace. It may be used by several goroutines at once.
type Conn struct{ nl *netlink.Conn }

// Dial makes a Conn in the network namespace of a descriptor, or in that of the
// calling thread with 0.
func Dial(netNS int) (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: netNS})
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	return &Conn{nl}, nil
}

// Close ends it.
func (c *Conn) Close() error { return c.nl.Close() }

// All returns the subflows of all connections, those that are being opened or
// closed as well. CAP_NET_ADMIN is needed. It walks all TCP sockets of the
// namespace.
func (c *Conn) All() ([]Subflow, error) {
	var all []Subflow
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := c.nl.Execute(request(family, netip.AddrPort{}, netip.AddrPort{}, 0, netlink.Dump))
		if err != nil {
			return nil, fmt.Errorf("list subflows: %w", err)
		}
		for _, m := range messages {
			s, ok, err := parse(m.Data)
			if err != nil {
				return nil, fmt.Errorf("list subflows: %w", err)
			}
			if ok {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// One returns the subflow with these addresses, ErrGone if there is none. The
// interface is the one that it is bound to, or 0.
func (c *Conn) One(local, remote netip.AddrPort, device int) (Subflow, error) {
	family := uint8(unix.AF_INET6)
	if local.Addr().Is4() {
		family = unix.AF_INET
	}
	messages, err := c.nl.Execute(request(family, local, remote, device, 0))
	if errors.Is(err, unix.ENOENT) {
		return Subflow{}, ErrGone
	}
	if err != nil {
		return Subflow{}, fmt.Errorf("subflow from %s to %s: %w", local, remote, err)
	}
	for _, m := range messages {
		s, ok, err := parse(m.Data)
		if err != nil {
			return Subflow{}, fmt.Errorf("subflow from %s to %s: %w", local, remote, err)
		}
		if ok {
			return s, nil
		}
	}
	return Subflow{}, ErrGone
}
