// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// upgradable has operators reach a tandem, and it manages subflows: there is a
// cgroup, and there are settings, to hand over.
func upgradable(t *testing.T) (r *relayed, client *admin.Client) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	r = newRelayed(t, fmt.Sprintf("admin: {socket: %s}\n%s", socket,
		strings.Replace(relayTo7, "allow-from", "paths: {manager: fullmesh}, allow-from", 1)))
	client = admin.NewClient(socket)
	t.Cleanup(client.Close)
	return r, client
}

// endSuccessor ends the process that serves in the end.
func endSuccessor(t *testing.T, client *admin.Client) {
	t.Helper()
	t.Cleanup(func() {
		s, err := client.Status(context.Background())
		if err != nil {
			return // it never came
		}
		_ = syscall.Kill(s.PID, syscall.SIGTERM)
		labtest.Await(t, patience, "the last process to end", func() bool { return syscall.Kill(s.PID, 0) != nil })
	})
}

// TestUpgradesUnderLoad: nobody is refused and no tunnel breaks in 5 upgrades
// and 10 reloads.
func TestUpgradesUnderLoad(t *testing.T) {
	r, client := upgradable(t)
	endSuccessor(t, client)
	const addr = "192.0.2.1:7007"
	tunnel := r.tunnel(t, addr)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var served atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				c, err := r.dial(addr)
				if err != nil {
					t.Errorf("connection %d: %v", served.Load(), err)
					return
				}
				if err := tryExchange(c); err != nil {
					t.Errorf("connection %d: %v", served.Load(), err)
				}
				c.Close()
				served.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		n := served.Load()
		labtest.Await(t, patience, "more connections", func() bool { return served.Load() > n+8 || t.Failed() })
	}
	pids := map[int]bool{}
	for range 5 {
		for range 2 {
			if _, err := client.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			more()
		}
		done, err := client.Upgrade(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if pids[done.PID] {
			t.Errorf("process %d again", done.PID)
		}
		pids[done.PID] = true
		more()
	}
	s, err := client.Status(ctx)
	if err != nil || !pids[s.PID] || s.State != admin.Running {
		t.Errorf("%+v, %v", s, err)
	}
	stop()
	load.Wait()
	exchange(t, tunnel)
	if code := r.tandem.ExitCode(); code != -1 {
		t.Fatalf("the first process has ended with %d, and left its tunnel", code)
	}
	tunnel.Close()
	r.awaitExit(t)
	t.Logf("%d connections", served.Load())
}

// TestFailedUpgrade: a process that cannot serve changes nothing.
func TestFailedUpgrade(t *testing.T) {
	r, client := upgradable(t)
	const addr = "192.0.2.1:7007"
	c := r.tunnel(t, addr)
	cgroup := func() string {
		t.Helper()
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", r.tandem.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := cgroup()
	r.write(t, strings.Replace(relayTo7, "7007", "seven", 1))
	if _, err := client.Upgrade(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("upgraded to mistakes: %v", err)
	}
	// It fails before it listens, with what it has inherited.
	r.write(t, "subscribers: {quota-file: /proc/no-file}\n"+relayTo7)
	if _, err := client.Upgrade(t.Context()); err == nil {
		t.Error("upgraded without quotas")
	}
	// It fails late: the address is taken.
	echo(t, r.Aggregator, "192.0.2.1:7777")
	r.write(t, strings.Replace(relayTo77, "7077", "7777", 1))
	r.signal(t, syscall.SIGUSR2)
	labtest.Await(t, patience, "the third failure", func() bool { return countLogged(r.tandem, "not upgraded", "level=ERROR") == 3 })
	if now := cgroup(); now != before {
		t.Errorf("the process that stays is in the cgroup %s, and was in %s", now, before)
	}
	if !logged(r.tandem, "not upgraded", "exit status 1") {
		t.Error("no reason is given")
	}
	r.tunnel(t, addr)
	exchange(t, c)
	s, err := client.Status(t.Context())
	if err != nil || s.State != admin.Running {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestEndWhileUpgrading ends a tandem that waits for a successor which never serves.
func TestEndWhileUpgrading(t *testing.T) {
	t.Parallel()
	l := newLocal(t, "rights: {sandbox: false}\n"+phones)
	dir := filepath.Dir(l.file)
	program, began := filepath.Join(dir, "tandem"), filepath.Join(dir, "began")
	if err := os.Symlink(l.program[0], program); err != nil {
		t.Fatal(err)
	}
	l.program = []string{program}
	l.start()
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: > "+began+"\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	client := admin.NewClient(l.socket)
	defer client.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := client.Upgrade(context.WithoutCancel(t.Context()))
		failed <- err
	}()
	labtest.Await(t, patience, "the successor", func() bool { _, err := os.Stat(began); return err == nil })
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), errEnding.Error()) {
		t.Errorf("the upgrade failed with %v", err)
	}
	l.awaitEnd()
}
