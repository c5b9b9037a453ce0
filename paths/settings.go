// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// settings are sysctls of the namespace that were changed. It is for a thread
// inside of it.
type settings struct {
	restores []func() error
	kept     int      // seconds that the kernel keeps connections, at least
	state    *os.File // locked; nil if there is none, or another process has it
}

// before are the settings that a killed process has left a note of.
type before struct {
	PathManager  string `json:"path_manager,omitempty"`
	CloseTimeout string `json:"close_timeout,omitempty"`
	StaleLossCnt string `json:"stale_loss_cnt,omitempty"`
}

// Recover puts back the settings of the network namespace of the calling thread
// as they were before an Engine with this Options.State whose process was
// killed. New does it by itself; it is for those who do without an Engine from
// now on. Where there is nothing to do, or the process lives, it does nothing.
func Recover(state string) error {
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var s settings
	return errors.Join(s.open(state), s.restore())
}

// open puts back what a killed process left, and makes a note of what is now.
func (s *settings) open(state string) error {
	if state == "" {
		return nil
	}
	f, err := os.OpenFile(state, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("state of path managers: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return f.Close() // another process has the namespace, too, and puts it back
	}
	s.state = f
	if err := s.exchange(); err != nil {
		return fmt.Errorf("state of path managers in %s: %w", state, err)
	}
	return nil
}

func (s *settings) exchange() error {
	old, err := io.ReadAll(s.state)
	if err != nil {
		return err
	}
	var left before
	// What cannot be read was cut off before anything was changed.
	if json.Unmarshal(old, &left) == nil {
		if err := left.putBack(); err != nil {
			return err
		}
	}
	var now before
	if now.PathManager, err = mptcp.PathManager(); err != nil {
		return err
	}
	if now.CloseTimeout, err = mptcp.SysctlCloseTimeout.Read(); err != nil {
		return err
	}
	if now.StaleLossCnt, err = mptcp.SysctlStaleLossCount.Read(); err != nil {
		return err
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := s.state.Truncate(0); err != nil {
		return err
	}
	_, err = s.state.WriteAt(text, 0)
	return err
}

// manage leaves the subflows of new connections to an engine that keeps those
// without any for at most d.
func (s *settings) manage(d time.Duration) error {
	restore, err := mptcp.SetPathManager(mptcp.PathManagerUserspace)
	if err != nil {
		return err
	}
	s.restores = append(s.restores, restore)
	if err := s.passOver(); err != nil {
		return err
	}
	return s.keep(d)
}

// silentPeriods is how many periods of retransmission, of an RTO or 200 ms, a
// subflow that has sent data hears nothing before the kernel sends that data
// over others, and no more over this one until it hears something: one more than
// that (net/mptcp/pm.c, mptcp_pm_subflow_chk_stale). With the kernel's 4 a
// transfer hangs for more than a second when a link goes silent.
const silentPeriods = 1

// passOver has the kernel give up silent subflows soon. 0, which is never, is
// somebody's will.
func (s *settings) passOver() error {
	_, err := s.change(mptcp.SysctlStaleLossCount, silentPeriods, func(now int) bool { return now <= silentPeriods })
	return err
}

// change sets a setting unless what it is now will do, and returns what it is
// then.
func (s *settings) change(setting mptcp.Sysctl, to int, does func(now int) bool) (int, error) {
	text, err := setting.Read()
	if err != nil {
		return 0, err
	}
	if now, err := strconv.Atoi(text); err == nil && does(now) {
		return now, nil
	}
	restore, err := setting.Set(strconv.Itoa(to))
	if err != nil {
		return 0, err
	}
	s.restores = append(s.restores, restore)
	return to, nil
}

// keepMargin is how much longer the kernel keeps connections without subflows
// than the engine, which then has the word.
const keepMargin = 10 * time.Second

func keepSeconds(d time.Duration) int { return int((d + keepMargin + time.Second - 1) / time.Second) }

// keep has the kernel keep connections without subflows for longer than d.
func (s *settings) keep(d time.Duration) error {
	seconds := keepSeconds(d)
	kept, err := s.change(mptcp.SysctlCloseTimeout, seconds, func(now int) bool { return now >= seconds })
	if err == nil {
		s.kept = kept
	}
	return err
}

// keep is for a policy that is used from now on.
func (e *Engine) keep(d time.Duration) error {
	if e.o.Observe || keepSeconds(d) <= e.settings.kept {
		return nil
	}
	return inside(e.o.NetNS, func() error { return e.settings.keep(d) })
}

// restore puts back the last change first, because each knows only the value
// before it.
func (s *settings) restore() error {
	err := s.undo()
	if s.state != nil {
		// Removed while locked: nobody takes it for that of a killed process.
		err = errors.Join(err, os.Remove(s.state.Name()), s.state.Close())
		s.state = nil
	}
	return err
}

func (s *settings) undo() error {
	var errs []error
	for _, restore := range slices.Backward(s.restores) {
		errs = append(errs, restore())
	}
	s.restores, s.kept = nil, 0
	return errors.Join(errs...)
}
