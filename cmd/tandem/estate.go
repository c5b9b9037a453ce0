// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/handover"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
	"github.com/tandem-gateway/tandem/telemetry"
)

// estate is what a tandem leaves to its successor. What is called FD is an index
// into the descriptors on the way, and a descriptor at both ends.
type estate struct {
	Sockets []proxy.Socket `json:"sockets,omitempty"` // of listeners
	Admin   *place         `json:"admin,omitempty"`
	Scrapes []tcpSocket    `json:"scrapes,omitempty"`
	Remote  []tcpSocket    `json:"remote,omitempty"`  // where operators are answered over TCP
	FreeID  uint64         `json:"free_id,omitempty"` // of connections: what operators know by one lower is no other's
	// Elders are sockets to this process and those from before, for requests to change
	// sessions.
	Elders []int `json:"elders,omitempty"`
	// Confined: files are out of reach, for successors as well.
	Confined bool `json:"confined,omitempty"`
	// fromManager: there is no predecessor, the service manager has opened these.
	fromManager bool
	// Table is the nftables table in use. The successor makes another one, and
	// both intercept the same for a moment.
	Table string `json:"table,omitempty"`
}

// place is where operators are answered.
type place struct {
	Path string `json:"path"`
	FD   int    `json:"fd"`
	// Activated is a socket of the service manager, which has made its file.
	Activated bool `json:"activated,omitempty"`
}

// tcpSocket is an address as it is configured, with the socket that listens there.
type tcpSocket struct {
	Address netip.AddrPort `json:"address"`
	FD      int            `json:"fd"`
}

var errNoTCP = errors.New("it does not listen for TCP")

// tables take turns.
var tables = [...]string{tproxy.DefaultName, tproxy.DefaultName + "-upgraded"}

// descriptors replaces each FD of e by what f returns.
func (e *estate) descriptors(f func(int) (int, error)) error {
	var errs []error
	one := func(fd *int) {
		var err error
		*fd, err = f(*fd)
		errs = append(errs, err)
	}
	for i := range e.Sockets {
		one(&e.Sockets[i].FD)
	}
	if e.Admin != nil {
		one(&e.Admin.FD)
	}
	for i := range e.Scrapes {
		one(&e.Scrapes[i].FD)
	}
	for i := range e.Remote {
		one(&e.Remote[i].FD)
	}
	for i := range e.Elders {
		one(&e.Elders[i])
	}
	return errors.Join(errs...)
}

func (e *estate) freeID() uint64 {
	if e == nil {
		return 0
	}
	return e.FreeID
}

// succeeds reports whether there is a predecessor.
func (e *estate) succeeds() bool { return e != nil && !e.fromManager }

// inherited reads what a predecessor has left.
func inherited(p *handover.Predecessor) (*estate, error) {
	var e estate
	if err := json.Unmarshal(p.State, &e); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	err := e.descriptors(func(i int) (int, error) {
		if i < 0 || i >= len(p.FDs) {
			return -1, fmt.Errorf("take over: there is no descriptor %d of %d", i, len(p.FDs))
		}
		return p.FDs[i], nil
	})
	return &e, err
}

// estate is what g has to leave.
func (g *gateway) estate() *estate {
	e := &estate{
		Confined: g.confined, FreeID: g.server.FreeID(), Sockets: g.server.Sockets(), Scrapes: slices.Clone(g.observers.scrapes), Remote: g.admin.remote.sockets(),
	}
	if g.admin.socket != nil {
		e.Admin = &place{Path: g.admin.config.Socket, FD: descriptor(g.admin.socket), Activated: g.admin.activated}
	}
	for _, elder := range g.aaa.elders {
		e.Elders = append(e.Elders, descriptor(elder))
	}
	if g.rules.Interceptor != nil {
		e.Table = g.rules.table()
	}
	return e
}

// descriptor is that of a socket, which stays its owner's.
func descriptor(s syscall.Conn) int {
	fd := -1
	if c, err := s.SyscallConn(); err == nil {
		_ = c.Control(func(u uintptr) { fd = int(u) })
	}
	return fd
}

// listen opens a socket for scrapes, or finds the one that was inherited.
func (o *observers) listen(addr netip.AddrPort) (net.Listener, error) {
	open := func() (*net.TCPListener, error) { return telemetry.Listen(addr) }
	for _, s := range o.inherited {
		if s.Address == addr {
			open = func() (*net.TCPListener, error) { return adopt(s.FD) }
		}
	}
	l, err := open()
	if err != nil {
		return nil, err
	}
	o.scrapes = append(o.scrapes, tcpSocket{addr, descriptor(l)})
	return l, nil
}

// adopt makes a listener of a descriptor, which stays its owner's.
func adopt(fd int) (*net.TCPListener, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(copied), "inherited")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("inherited socket %d: %w", fd, errNoTCP)
	}
	return tcp, nil
}

// close closes what others have made copies of.
func (e *estate) close() {
	if e.Admin != nil {
		unix.Close(e.Admin.FD)
	}
	for _, s := range slices.Concat(e.Scrapes, e.Remote) {
		unix.Close(s.FD)
	}
}
