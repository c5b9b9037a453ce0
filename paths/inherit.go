// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Leave hands the settings of the namespace over to the engine of another
// process, which Claims them: Close does not put them back any more. The engine
// goes on with the connections that it has.
func (e *Engine) Leave() (err error) {
	e.ask(func() { err = e.settings.leave() })
	return err
}

// Claim makes this engine the one to put back the settings of the namespace,
// which another process with the same Options.State has left, or was killed
// with. While that lives, and has not left them, Claim does nothing.
func (e *Engine) Claim() (err error) {
	e.ask(func() { err = e.settings.claim(e.o.State, e.o.NetNS) })
	return err
}

// leave forgets what was changed, but for the note of it.
func (s *settings) leave() error {
	s.restores = nil
	if s.state == nil {
		return nil
	}
	err := s.state.Close()
	s.state = nil
	return err
}

// claim takes over the note of another process, if there is one that nobody
// holds.
func (s *settings) claim(state string, netNS int) error {
	if state == "" || s.state != nil {
		return nil
	}
	f, err := os.OpenFile(state, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the other one has put everything back
	}
	if err == nil {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
			return f.Close()
		}
		if err == nil {
			err = s.adopt(f, netNS)
		}
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("state of path managers: %w", err)
	}
	return nil
}

func (s *settings) adopt(f *os.File, netNS int) error {
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	var was before
	if err := json.Unmarshal(text, &was); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.state = f
	// Before our own, which are undone first: they know only the other's.
	s.restores = append([]func() error{func() error { return inside(netNS, was.putBack) }}, s.restores...)
	return nil
}

// putBack makes the settings what they were.
func (b *before) putBack() error {
	if b.PathManager != "" {
		if _, err := mptcp.SetPathManager(b.PathManager); err != nil {
			return err
		}
	}
	var errs []error
	for setting, value := range map[mptcp.Sysctl]string{
		mptcp.SysctlCloseTimeout:   b.CloseTimeout,
		mptcp.SysctlStaleLossCount: b.StaleLossCnt,
	} {
		if value != "" {
			_, err := setting.Set(value)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
