// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// IDPrefix starts the ID of every lab, and so the name of each of its namespaces.
const IDPrefix = "tdm-"

var (
	// ErrNeedsRoot reports that namespaces cannot be made without root.
	ErrNeedsRoot = errors.New("network namespaces need root")
	// ErrNoMPTCP reports that the kernel lacks what a preset is about.
	ErrNoMPTCP = errors.New("kernel has no MPTCP")
	// ErrClosed reports the use of a lab after Close.
	ErrClosed = errors.New("lab is closed")
)

// validName keeps names usable in file names and free of the separator that
// Clean relies on.
var validName = regexp.MustCompile(`^[a-z0-9]{1,24}$`)

// Lab is a set of hosts and the links between them. Its methods may be called
// from several goroutines at once.
type Lab struct {
	id    string // IDPrefix + name + "-" + random
	owner *ownerFile

	mu        sync.Mutex
	closed    bool
	hosts     []*Host
	emulators []*emulator.Emulator
	processes map[*Process]struct{}
}

// New makes an empty lab. The name consists of lower-case letters and digits
// and becomes part of the names of the namespaces: tdm-<name>-<random>-<host>.
func New(name string) (*Lab, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("new lab: name %q is not made of 1 to 24 lower-case letters and digits", name)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("new lab %q: %w", name, ErrNeedsRoot)
	}
	if err := shareNetnsDir(); err != nil {
		return nil, fmt.Errorf("new lab %q: %w", name, err)
	}
	var random [4]byte
	rand.Read(random[:])
	id := IDPrefix + name + "-" + hex.EncodeToString(random[:])
	owner, err := createOwnerFile(id)
	if err != nil {
		return nil, fmt.Errorf("new lab %q: %w", name, err)
	}
	return &Lab{id: id, owner: owner, processes: make(map[*Process]struct{})}, nil
}

// ID is the common start of the names of the lab's namespaces.
func (l *Lab) ID() string { return l.id }

// Close ends the processes started in the lab (SIGTERM, then SIGKILL), ends any
// other process still inside one of its namespaces, and removes links and
// namespaces. Later calls do nothing and return nil.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	hosts, emulators := l.hosts, l.emulators
	running := make([]*Process, 0, len(l.processes))
	for p := range l.processes {
		running = append(running, p)
	}
	l.mu.Unlock()

	var errs []error
	if err := endProcesses(running); err != nil {
		errs = append(errs, err)
	}
	for _, e := range emulators {
		if err := e.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, h := range hosts {
		if err := h.close(); err != nil {
			errs = append(errs, fmt.Errorf("host %q: %w", h.name, err))
		}
	}
	if len(errs) == 0 {
		// The file stays when something could not be removed, so that Clean tries again.
		errs = append(errs, l.owner.remove())
	} else {
		l.owner.release()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close lab %s: %w", l.id, err)
	}
	return nil
}

// start starts a process and registers it for Close, which either sees it or
// keeps it from starting.
func (l *Lab) start(p *Process, start func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if err := start(); err != nil {
		return err
	}
	l.processes[p] = struct{}{}
	return nil
}

func (l *Lab) forget(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.processes, p)
}
