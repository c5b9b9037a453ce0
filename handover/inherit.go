// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxFDs bounds what the environment may claim.
const maxFDs = 1 << 16

// Predecessor is the process that has started this one.
type Predecessor struct {
	// FDs are closed on exec and belong to whoever uses them.
	FDs []int
	// State is what the predecessor says about them.
	State json.RawMessage

	talk net.Conn
}

// Inherited returns the predecessor of this process, nil if there is none. It
// is to be called once, before other descriptors are opened.
func Inherited() (*Predecessor, error) {
	value, is := os.LookupEnv(environment)
	if !is {
		return nil, nil
	}
	os.Unsetenv(environment) // not for processes that this one starts
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("environment: %s=%q: want a number of descriptors; it is set by a process that hands over, and by nobody else", environment, value)
	}
	p := &Predecessor{}
	for fd := firstFD; fd <= firstFD+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("take over: descriptor %d of %d: %w", fd, firstFD+n, err)
		}
		if fd > firstFD {
			p.FDs = append(p.FDs, fd)
		}
	}
	if p.talk, err = connection(firstFD); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	var w will
	if err := hear(p.talk, &w); err != nil {
		p.talk.Close()
		return nil, fmt.Errorf("take over: %w", err)
	}
	p.State = w.State
	return p, nil
}

// Ready says that this process serves, and waits until the predecessor has let
// go, or has died. An error means that the predecessor was not there any more
// to be told, which needs no other measures.
func (p *Predecessor) Ready() error {
	defer p.talk.Close()
	if err := tell(p.talk, word{Ready: true}); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	var w word
	if err := hear(p.talk, &w); err != nil {
		return fmt.Errorf("take over: the predecessor has ended: %w", err)
	}
	return nil
}
