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
	check := func(manager, timeout string) {
		t.Helper()
		in(func() error {
			m, err := mptcp.PathManager()
			c, err2 := mptcp.SysctlCloseTimeout.Read()
			if m != manager || c != timeout {
				t.Errorf("%s and %s, want %s and %s", m, c, manager, timeout)
			}
			return errors.Join(err, err2)
		})
	}
	w := &world{t: t}
	abandon := func() {
		t.Helper()
		in(func() error {
			var s settings
			if err := errors.Join(s.open(file), s.userspace(), s.keep(DefaultKeep)); err != nil {
				return err
			}
			if err := Recover(file); err != nil { // it lives
				return err
			}
			return s.state.Close() // and is killed
		})
		check("userspace", "70")
	}

	abandon()
	in(func() error { return Recover(file) })
	check("kernel", "60")
	in(func() error { return Recover(file) }) // nothing to do

	abandon()
	e := w.engineOn(h, Options{State: file})
	check("userspace", "70")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check("kernel", "60")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state after the end: %v", err)
	}

	// What was cut off tells nothing.
	if err := os.WriteFile(file, []byte(`{"path_man`), 0o600); err != nil {
		t.Fatal(err)
	}
	in(func() error { return Recover(file) })
	check("kernel", "60")
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
