// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"errors"
)

// ErrClosed is returned by an Engine after Close.
var ErrClosed = errors.New("the engine of path managers is closed")

// Manage ends Options.Observe: connections that are created from now on belong
// to the engine. Those from before stay with the in-kernel path manager, and are
// still watched. It waits for the engine; once is enough.
func (e *Engine) Manage() error {
	var err error
	if !e.ask(func() { err = e.manage() }) {
		return ErrClosed
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Unmanage takes Manage back, for new connections. Those that belong to the engine
// open no more subflows. It waits for the engine.
func (e *Engine) Unmanage() error {
	var err error
	if !e.ask(func() {
		err = e.settings.undo()
		e.o.Observe = true
	}) {
		return ErrClosed
	}
	return err
}

func (e *Engine) manage() error {
	if !e.o.Observe {
		return nil
	}
	err := inside(e.o.NetNS, func() error {
		return e.settings.manage(cmp.Or(e.o.Keep, DefaultKeep))
	})
	if err != nil {
		return errors.Join(err, e.settings.undo())
	}
	e.o.Observe = false
	for _, c := range e.conns {
		c.over = true // the kernel takes no commands for it
	}
	return nil
}
