// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestRecover: a process that was killed has left its settings behind.
func TestRecover(t *testing.T) {
	needEngine(t)
	l := labtest.New(t)
	h, err := l.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "state")
	in := func(f func() error) {
		t.Helper()
		if err := h.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	check := func(manager, timeout, stale string) {
		t.Helper()
		in(func() error {
			m, err := mptcp.PathManager()
			c, err2 := mptcp.SysctlCloseTimeout.Read()
			l, err3 := mptcp.SysctlStaleLossCount.Read()
			if m != manager || c != timeout || l != stale {
				t.Errorf("%s, %s and %s, want %s, %s and %s", m, c, l, manager, timeout, stale)
			}
			return errors.Join(err, err2, err3)
		})
	}
	w := &world{t: t}
	abandon := func() {
		t.Helper()
		in(func() error {
			var s settings
			if err := errors.Join(s.open(file), s.manage(DefaultKeep)); err != nil {
				return err
			}
			if err := Recover(file); err != nil { // it lives
				return err
			}
			return s.state.Close() // and is killed
		})
		check("userspace", "70", "1")
	}

	abandon()
	in(func() error { return Recover(file) })
	check("kernel", "60", "4")
	in(func() error { return Recover(file) }) // nothing to do

	abandon()
	e := w.engineOn(h, Options{State: file})
	check("userspace", "70", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check("kernel", "60", "4")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state after the end: %v", err)
	}

	// Who wants silent subflows to be kept has them.
	in(func() error { _, err := mptcp.SysctlStaleLossCount.Set("0"); return err })
	e = w.engineOn(h, Options{})
	check("userspace", "70", "0")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check("kernel", "60", "0")
	in(func() error { _, err := mptcp.SysctlStaleLossCount.Set("4"); return err })

	// What was cut off tells nothing.
	if err := os.WriteFile(file, []byte(`{"path_man`), 0o600); err != nil {
		t.Fatal(err)
	}
	in(func() error { return Recover(file) })
	check("kernel", "60", "4")
}

// TestSecondEngine: the first one's settings stay as long as it does.
func TestSecondEngine(t *testing.T) {
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	second := w.engineOn(w.Client, Options{})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
}
