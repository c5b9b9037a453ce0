// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// settings are sysctls of the namespace that were changed. It is for a thread
// inside of it.
type settings struct {
	restores []func() error
	kept     int // seconds that the kernel keeps connections, at least
}

func (s *settings) userspace() error {
	restore, err := mptcp.SetPathManager(mptcp.PathManagerUserspace)
	if err == nil {
		s.restores = append(s.restores, restore)
	}
	return err
}

// keepMargin is how much longer the kernel keeps connections without subflows
// than the engine, which then has the word.
const keepMargin = 10 * time.Second

func keepSeconds(d time.Duration) int { return int((d + keepMargin + time.Second - 1) / time.Second) }

// keep has the kernel keep connections without subflows for longer than d.
func (s *settings) keep(d time.Duration) error {
	seconds := keepSeconds(d)
	now, err := mptcp.SysctlCloseTimeout.Read()
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(now); err == nil && n >= seconds {
		s.kept = n
		return nil
	}
	restore, err := mptcp.SysctlCloseTimeout.Set(strconv.Itoa(seconds))
	if err == nil {
		s.kept = seconds
		s.restores = append(s.restores, restore)
	}
	return err
}

// keep is for a policy that is used from now on.
func (e *Engine) keep(d time.Duration) error {
	if keepSeconds(d) <= e.settings.kept {
		return nil
	}
	return inside(e.o.NetNS, func() error { return e.settings.keep(d) })
}

// restore puts back the last change first, because each knows only the value
// before it.
func (s *settings) restore() error {
	var errs []error
	for _, restore := range slices.Backward(s.restores) {
		errs = append(errs, restore())
	}
	s.restores = nil
	return errors.Join(errs...)
}
