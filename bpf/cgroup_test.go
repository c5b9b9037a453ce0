// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const patience = 30 * time.Second

// mustBeIn checks the cgroup of this process.
func mustBeIn(t *testing.T, want string) {
	t.Helper()
	if got, err := presentCgroup(); err != nil || got != want {
		t.Errorf("in cgroup %s, %v; want %s", got, err, want)
	}
}

// attached counts the programs that run for sockets of a cgroup and not for
// those of its parent.
func attached(t *testing.T, path string) int {
	t.Helper()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupSockOps})
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Programs)
}

func TestProcessComesBack(t *testing.T) {
	needPrograms(t)
	before, err := presentCgroup()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	inside := p.cgroup.path
	mustBeIn(t, inside)
	if filepath.Dir(inside) != before {
		t.Errorf("cgroup %s is not in %s", inside, before)
	}
	if n := attached(t, inside); n == 0 {
		t.Error("nothing is attached to it")
	}
	// A child that outlives the programs does not keep the cgroup.
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		sleep.Process.Kill()
		sleep.Wait()
	}()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	mustBeIn(t, before)
	if _, err := os.Stat(inside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cgroup is left: %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	p := open(t, Options{})
	second, err := Open(Options{})
	if !errors.Is(err, errInside) {
		t.Errorf("second Open: %v", err)
	}
	if err == nil {
		second.Close()
	}
	mustBeIn(t, p.cgroup.path)
}

// TestInstances runs two at once, one of which is the child of the other.
func TestInstances(t *testing.T) {
	p := open(t, Options{})
	cmd, stdin, lines := child(t, "hold", nil)
	theirs := line(t, lines)
	if filepath.Dir(theirs) != filepath.Dir(p.cgroup.path) || theirs == p.cgroup.path {
		t.Errorf("cgroup %s is not beside %s", theirs, p.cgroup.path)
	}
	stdin.Close()
	if got := line(t, lines); got != "closed" {
		t.Errorf("child said %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	mustBeIn(t, p.cgroup.path)
	if _, err := os.Stat(theirs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cgroup of the child is left: %v", err)
	}
}

func TestKilled(t *testing.T) {
	needPrograms(t)
	cmd, _, lines := child(t, "hold", nil)
	theirs := line(t, lines)
	if n := attached(t, theirs); n == 0 {
		t.Fatal("nothing is attached while it runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if _, err := os.Stat(theirs); err != nil {
		t.Fatalf("test is void: a killed process left no cgroup: %v", err)
	}
	labtest.Await(t, patience, "programs of a killed process are detached", func() bool {
		return attached(t, theirs) == 0
	})
	alive, stdin, lines := child(t, "hold", nil)
	living := line(t, lines)
	open(t, Options{})
	if _, err := os.Stat(theirs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next start left the cgroup: %v", err)
	}
	if n := attached(t, living); n == 0 {
		t.Error("the next start took the programs of another instance away")
	}
	stdin.Close()
	alive.Wait()
}
