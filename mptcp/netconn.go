// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// NewListener is Listen for goroutines. Connections it accepts are
// *net.TCPConn with the defaults of package net: TCP_NODELAY on and keep-alive
// every 15 seconds. StatusOf tells what each one negotiated.
func NewListener(addr netip.AddrPort, o ListenOptions) (*net.TCPListener, error) {
	l, err := Listen(addr, o)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(l.FD), "")
	defer f.Close() // net.FileListener duplicates
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return nl.(*net.TCPListener), nil
}

// overridden are the options that net.FileConn sets to values of its own.
var overridden = [...]struct {
	level, option int
	name          string
}{
	{unix.SOL_TCP, unix.TCP_NODELAY, "TCP_NODELAY"},
	{unix.SOL_TCP, unix.TCP_KEEPIDLE, "TCP_KEEPIDLE"},
	{unix.SOL_TCP, unix.TCP_KEEPINTVL, "TCP_KEEPINTVL"},
	{unix.SOL_TCP, unix.TCP_KEEPCNT, "TCP_KEEPCNT"},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, "SO_KEEPALIVE"},
}

// rememberOptions returns a function that brings back what fd has now.
func rememberOptions(fd int) (restore func(fd int) error, err error) {
	var values [len(overridden)]int
	for i, o := range overridden {
		if values[i], err = unix.GetsockoptInt(fd, o.level, o.option); err != nil {
			return nil, fmt.Errorf("read %s: %w", o.name, err)
		}
	}
	return func(fd int) error {
		set := setter{fd: fd}
		for i, o := range overridden {
			set.int(o.level, o.option, values[i], o.name)
		}
		return set.err
	}, nil
}
