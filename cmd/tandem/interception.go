// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/config"
)

// defaultOwnMark is on our own sockets where traffic is intercepted, so that
// ours is not: "td" in ASCII.
const defaultOwnMark = 0x7464

// ownMark is the mark of sockets that have no other, 0 where none is needed.
func ownMark(c *config.Config) uint32 {
	for i := range c.Listeners {
		if c.Listeners[i].Type.Intercepts() {
			return defaultOwnMark
		}
	}
	return 0
}

// markSocket returns what marks a socket of package net as ours, nil where that
// is not needed.
func (s *setup) markSocket() func(network, address string, c syscall.RawConn) error {
	if s.ownMark == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(s.ownMark))
		})
		if err != nil {
			return err
		}
		return failure
	}
}

func (s *setup) intercept(*setup) error { return nil }
func (s *setup) release() error         { return nil }
