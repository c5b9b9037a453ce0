// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"sync"
)

// installing keeps instances of one process from taking each other's routing,
// half made, for a leftover.
var installing sync.Mutex

// installed are those that have not been closed. Were one garbage, its socket
// would be closed and its table gone.
var installed = map[*Interceptor]bool{}

// Interceptor is an interception in force. Its methods may be called from
// several goroutines, and from any network namespace.
type Interceptor struct {
	config Config // with defaults
	table  *table // nil once closed
	router *router
}

// Install intercepts what the configuration says, in the network namespace of
// the calling thread, until Close or the end of the process. It first removes
// what a crashed process has left behind.
//
// Several instances may exist at once if their names differ; they share routing
// that is the same. The name of a running instance, and a routing table that
// others use, are refused with ErrInUse. Other errors are ErrPermission and
// ErrUnsupported. On error nothing is installed.
func Install(c Config) (*Interceptor, error) {
	i, err := newInterceptor(c)
	if err != nil {
		return nil, fmt.Errorf("transparent interception: %w", err)
	}
	return i, nil
}

func newInterceptor(c Config) (*Interceptor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	installing.Lock()
	defer installing.Unlock()
	i := &Interceptor{config: c.withDefaults()}
	var err error
	if i.table, err = openTable(i.config.Name); err != nil {
		return nil, err
	}
	if i.router, err = newRouter(i.config.needsIPv6()); err != nil {
		return nil, errors.Join(err, i.table.close())
	}
	if err := i.apply(i.config); err != nil {
		return nil, errors.Join(err, i.tearDown())
	}
	installed[i] = true
	return i, nil
}

// Update changes what is intercepted. Connections that are intercepted stay so,
// unless Forwarded or Own is switched off as a whole; no connection slips
// through meanwhile. The name cannot change. It also makes rules and routes
// again that somebody else has removed. On error the old configuration stays in
// force.
func (i *Interceptor) Update(c Config) error {
	if err := i.update(c); err != nil {
		return fmt.Errorf("update transparent interception: %w", err)
	}
	return nil
}

func (i *Interceptor) update(c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	c = c.withDefaults()
	installing.Lock()
	defer installing.Unlock()
	if i.table == nil {
		return ErrClosed
	}
	if c.Name != i.config.Name {
		return fmt.Errorf("name %q: the table is called %q, and cannot be renamed", c.Name, i.config.Name)
	}
	if c.needsIPv6() && !i.router.v6 {
		return fmt.Errorf("IPv6 was %w or switched off when interception began", ErrUnsupported)
	}
	if err := i.apply(c); err != nil {
		return errors.Join(err, i.apply(i.config))
	}
	i.config = c
	return nil
}

// apply installs the rules and the routing of c, and removes routing that
// nobody relies on any more.
func (i *Interceptor) apply(c Config) error {
	keep, err := i.table.routings()
	if err != nil {
		return err
	}
	if c.delivers() {
		r := c.routing()
		if err := checkSysctls(c); err != nil {
			return err
		}
		// First the sign that the routing is in use, so that no other process
		// takes it for a leftover; last the rules that send packets there.
		if err := i.table.reserve(r); err != nil {
			return err
		}
		if err := i.router.ensure(r); err != nil {
			return err
		}
		keep[r] = true
	}
	if err := i.table.replace(c.ruleset()); err != nil {
		return err
	}
	return i.router.prune(keep)
}

// Drain stops intercepting. Connections that are intercepted go on until Close.
// Update starts again.
func (i *Interceptor) Drain() error {
	installing.Lock()
	defer installing.Unlock()
	err := ErrClosed
	if i.table != nil {
		err = i.table.replace(i.config.ruleset().draining())
	}
	if err != nil {
		return fmt.Errorf("drain transparent interception: %w", err)
	}
	return nil
}

// Close ends the interception and removes everything that was installed.
// Connections that are intercepted break. Later calls do nothing and return
// nil.
func (i *Interceptor) Close() error {
	installing.Lock()
	defer installing.Unlock()
	if i.table == nil {
		return nil
	}
	if err := i.tearDown(); err != nil {
		return fmt.Errorf("remove transparent interception: %w", err)
	}
	return nil
}

func (i *Interceptor) tearDown() error {
	delete(installed, i)
	err := i.table.remove()
	others, listErr := i.table.routings()
	err = errors.Join(err, listErr, i.table.close())
	i.table = nil
	if listErr == nil {
		err = errors.Join(err, i.router.prune(others))
	}
	i.router.close()
	return err
}
