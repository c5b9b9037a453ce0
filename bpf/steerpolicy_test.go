// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/options"
)

func TestRateLimit(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{})
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 1, 500_000)
	for _, limit := range []uint64{8e6, 4e6} {
		var p Policy
		p.Paths[1].RateLimit = limit
		c.set(t, c.ends, p)
		c.awaitSent(t, c.ends, 1, 100_000) // what was queued before
		start := time.Now()
		sent := c.awaitSent(t, c.ends, 1, limit/16) // takes half a second
		if rate := float64(sent[1]) * 8 / time.Since(start).Seconds(); rate > 1.15*float64(limit) {
			t.Errorf("%.0f bit/s on a path limited to %d", rate, limit)
		} else {
			t.Logf("%.2f Mbit/s on a path limited to %d, %.2f on the other", rate/1e6, limit, float64(sent[0])*8/time.Since(start).Seconds()/1e6)
		}
	}
	c.set(t, c.ends, Policy{})
	labtest.Await(t, patience, "no limit", func() bool { return c.state(t, c.ends)[1].Limit == math.MaxUint64 })
	stop()
}

// TestDrain has a path take no new data, so that its subflow may be closed.
func TestDrain(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{})
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 0, 500_000)
	var p Policy
	p.Paths[0].Drain = true
	c.set(t, c.ends, p)
	labtest.Await(t, patience, "no data on a path that is drained", func() bool {
		sent := c.awaitSent(t, c.ends, 1, 200_000)
		return sent[0] == 0 && c.state(t, c.ends)[0].Queued == 0
	})
	stop()
}

// TestSetAll steers and releases some connections at once, beside one that
// cannot be.
func TestSetAll(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{})
	second := c.connect(t, Policy{})
	change := func(p *Policy) (failed map[uint32]error) {
		c.Client.Do(func() error {
			failed = c.s.SetAll(map[uint32]*Policy{c.clientToken: p, second.clientToken: p, 1: p})
			return nil
		})
		return failed
	}
	failed := change(&Policy{Scheduler: Primary})
	if len(failed) != 1 || !errors.Is(failed[1], ErrNoSubflow) {
		t.Errorf("failed: %v", failed)
	}
	c.settle(t, c.ends, 1)
	c.settle(t, second, 1)
	if failed := change(&Policy{Scheduler: 200}); len(failed) != 3 || !errors.Is(failed[1], ErrPolicy) {
		t.Errorf("a policy that cannot be: %v", failed)
	}
	if failed := change(nil); len(failed) != 0 {
		t.Errorf("failed to release: %v", failed)
	}
	for _, token := range []uint32{c.clientToken, second.clientToken} {
		if _, err := c.s.State(token); !errors.Is(err, ErrNoSubflow) {
			t.Errorf("state without a policy: %v", err)
		}
	}
}

// TestClear gives a connection back to the kernel.
func TestClear(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{Scheduler: Primary, Options: SubflowOptions{options.UserTimeout: 60_000}})
	c.settle(t, c.ends, 1)
	if err := c.Client.Do(func() error { return c.s.Clear(c.clientToken) }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.s.State(c.clientToken); !errors.Is(err, ErrNoSubflow) {
		t.Errorf("state without a policy: %v", err)
	}
	before, err := c.Cell.Counters()
	if err != nil {
		t.Fatal(err)
	}
	c.move(t, c.client, c.server, 2e6)
	after, err := c.Cell.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Sub(before).AToB; n < 300_000 {
		t.Errorf("%d bytes on the second path of the kernel's scheduler", n)
	}
}

// TestForgotten: nothing is kept of a connection that has ended.
func TestForgotten(t *testing.T) {
	c := steer(t, 0, 0, Policy{Scheduler: Primary})
	c.client.Close()
	c.server.Close()
	labtest.Await(t, patience, "an end of what is known", func() bool {
		_, err := c.s.State(c.clientToken)
		return errors.Is(err, ErrNoSubflow)
	})
	err := c.Client.Do(func() error { return c.s.Set(c.clientToken, Policy{}) })
	if !errors.Is(err, ErrNoSubflow) {
		t.Errorf("policy for a connection that has ended: %v", err)
	}
	var p schedulerPolicy
	if err := c.s.common.Maps[schedulerMapPolicies].Lookup(&c.clientToken, &p); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("policy that was refused is kept: %v", err)
	}
}

// TestDeserted has options of the whole connection set, among them its
// congestion control, which the kernel then gives to all subflows.
func TestDeserted(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{Scheduler: Primary})
	raw, err := c.client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno") })
	if err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "steered subflows", func() bool {
		out, err := c.Client.Command(t.Context(), "ss", "-tin").Output()
		if err != nil {
			t.Skip(err)
		}
		return strings.Count(string(out), "."+c.s.instance+".") == 2
	})
	c.settle(t, c.ends, 1)
}

// TestSteeringKilled looks for congestion controls of a killed process.
func TestSteeringKilled(t *testing.T) {
	needPrograms(t)
	cmd, _, lines := child(t, "steer", nil)
	instance := line(t, lines)
	registered := func() bool {
		list, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(list), instance)
	}
	if !registered() {
		t.Fatalf("%s is not registered while the process lives", instance)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	labtest.Await(t, patience, "congestion controls of a killed process are gone", func() bool { return !registered() })
}

func TestPolicyRefused(t *testing.T) {
	s := &Steering{}
	for name, p := range map[string]Policy{
		"scheduler":          {Scheduler: 200},
		"rate limit":         {Paths: [MaxPaths]PathPolicy{1: {RateLimit: MinRateLimit - 1}}},
		"no weight":          {Scheduler: Weighted},
		"congestion control": {CongestionControl: "vegas"},
		"delay threshold":    {DelayThreshold: -time.Second},
	} {
		if err := s.Set(1, p); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
