// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
)

var errPlainTCP = errors.New("it has to be MPTCP, and the service manager has opened it for TCP (SocketProtocol=mptcp, systemd 257)")

// activated finds out what the sockets are for that the service manager has
// opened: those of listeners, and that of operators. Their options are the
// manager's. Sockets that nobody wants are closed.
func activated(fds []int, c *config.Config, log *slog.Logger) (*estate, error) {
	e := &estate{fromManager: true}
	for _, fd := range fds {
		address, err := unix.Getsockname(fd)
		if err != nil {
			return nil, fmt.Errorf("socket from the service manager: %w", err)
		}
		if u, is := address.(*unix.SockaddrUnix); is {
			if u.Name == c.Admin.Socket {
				e.Admin = &place{Path: u.Name, FD: fd, Activated: true}
				continue
			}
			log.Warn("the service manager has opened a socket that is not admin.socket", "path", u.Name)
			unix.Close(fd)
			continue
		}
		local, err := mptcp.LocalAddr(fd)
		if err != nil {
			return nil, fmt.Errorf("socket from the service manager: %w", err)
		}
		l := listenerAt(c, local)
		if l == nil {
			log.Warn("the service manager has opened a socket that no listener has", "address", local)
			unix.Close(fd)
			continue
		}
		s := proxy.Socket{FD: fd, Address: local, Options: listenOptions(l, ownMark(c))}
		if mptcp.IsTCP(fd) {
			s.Reason = mptcp.NotAsked
			if l.MPTCP == mptcp.ModeRequire {
				return nil, fmt.Errorf("listener %s: socket %s: %w", l.Name, local, errPlainTCP)
			}
		}
		e.Sockets = append(e.Sockets, s)
	}
	return e, nil
}

// listenerAt finds the listener that has an address, nil if there is none.
func listenerAt(c *config.Config, at netip.AddrPort) *config.Listener {
	for i := range c.Listeners {
		for _, address := range c.Listeners[i].Listen {
			if address == at {
				return &c.Listeners[i]
			}
		}
	}
	return nil
}
