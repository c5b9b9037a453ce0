// SPDX-License-Identifier: Apache-2.0

// Package labtest gives tests a lab: it skips them where none can be made, says
// why, and takes everything down at the end of the test.
package labtest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// New makes an empty lab.
func New(t testing.TB) *lab.Lab {
	t.Helper()
	l, err := lab.New(labName(t))
	check(t, err)
	closeAtEnd(t, l)
	return l
}

// HybridHome builds a [lab.HybridHome].
func HybridHome(t testing.TB, spec lab.HybridHomeSpec) *lab.HybridHome {
	t.Helper()
	home, err := lab.NewHybridHome(labName(t), spec)
	check(t, err)
	closeAtEnd(t, home.Lab)
	return home
}

// TwoPath builds a [lab.TwoPath].
func TwoPath(t testing.TB, spec lab.TwoPathSpec) *lab.TwoPath {
	t.Helper()
	tp, err := lab.NewTwoPath(labName(t), spec)
	check(t, err)
	closeAtEnd(t, tp.Lab)
	return tp
}

// check skips the test if this machine cannot have a lab.
func check(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, lab.ErrNeedsRoot), errors.Is(err, lab.ErrNoMPTCP):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

func closeAtEnd(t testing.TB, l *lab.Lab) {
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// labName makes a lab's name of the test's, so that leftovers tell their origin.
func labName(t testing.TB) string {
	const longest = 24
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimPrefix(t.Name(), "Test")))
	return "t" + name[:min(len(name), longest-1)]
}

// Await waits until cond holds and fails the test if it does not in time.
func Await(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", timeout, what)
		}
	}
}
