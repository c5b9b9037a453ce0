// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestSuccession: settings stay from one engine to the next, and the last one
// puts them back.
func TestSuccession(t *testing.T) {
	needEngine(t)
	l := labtest.New(t)
	h, err := l.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	file := filepath.Join(t.TempDir(), "state")
	check := func(when, manager, timeout, stale string) {
		t.Helper()
		err := h.Do(func() error {
			m, err := mptcp.PathManager()
			c, err2 := mptcp.SysctlCloseTimeout.Read()
			l, err3 := mptcp.SysctlStaleLossCount.Read()
			if m != manager || c != timeout || l != stale {
				t.Errorf("%s: %s, %s and %s, want %s, %s and %s", when, m, c, l, manager, timeout, stale)
			}
			return errors.Join(err, err2, err3)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := w.engineOn(h, Options{State: file})

	// One that does not make it leaves everything to the first.
	failed := w.engineOn(h, Options{State: file})
	must(failed.Claim())
	must(failed.Close())
	check("after a failure", "userspace", "70", "1")

	second := w.engineOn(h, Options{State: file})
	must(first.Leave())
	must(second.Claim())
	must(first.Close())
	check("after the first", "userspace", "70", "1")

	third := w.engineOn(h, Options{State: file})
	must(second.Leave())
	must(third.Claim())
	must(third.Close())
	check("after the third", "kernel", "60", "4")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state after the end: %v", err)
	}
	must(second.Close())
	check("after all", "kernel", "60", "4")
}
