// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestPrimary(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{})
	for _, cc := range []string{"reno", "cubic", "bbr"} {
		c.set(t, c.ends, Policy{Scheduler: Primary, CongestionControl: cc})
		c.settle(t, c.ends, 1)
		// It may still look at the second path's rate too late, once: see settle.
		if got := c.sent(t, c.ends, 1e6); got[1] > burst {
			t.Errorf("%s: %d bytes on the second path", cc, got[1])
		}
		c.set(t, c.ends, Policy{})
		if got := c.sent(t, c.ends, 2e6); got[1] < 300_000 {
			t.Errorf("%s: %d bytes on the second path without a policy", cc, got[1])
		}
	}
}

// TestFirstPath gives connections a policy while their second subflow is being
// opened.
func TestFirstPath(t *testing.T) {
	slow := lab.LinkSpec{Delay: 30 * time.Millisecond}
	c := steerOver(t, labtest.TwoPath(t, lab.TwoPathSpec{Cell: slow}), Options{Steering: true}, Policy{})
	for range 8 {
		if state := c.state(t, c.connect(t, Policy{})); state[0].Subflow != 1 || state[0].MinRTT > state[1].MinRTT {
			t.Fatalf("first path: %+v, second: %+v", state[0], state[1])
		}
	}
}

// TestPrimaryDies has the first path fail in mid-transfer, in two ways.
func TestPrimaryDies(t *testing.T) {
	for name, kill := range map[string]func(*steered){
		"reset": func(c *steered) {
			filter(t, c.Aggregator, "input", "iifname wifi meta l4proto tcp reject with tcp reset")
		},
		"cut": func(c *steered) {
			if err := c.WiFi.Down(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := steer(t, 40e6, 40e6, Policy{Scheduler: Primary})
			stop := c.bulk(t)
			c.awaitSent(t, c.ends, 0, 500_000)
			kill(c)
			c.awaitSent(t, c.ends, 1, 500_000)
			if name == "cut" {
				if err := c.WiFi.Up(); err != nil {
					t.Fatal(err)
				}
				c.awaitSent(t, c.ends, 0, 500_000)
				labtest.Await(t, patience, "second path is skipped again", func() bool { return c.state(t, c.ends)[1].Limit == 0 })
			}
			stop()
		})
	}
}

func TestWeighted(t *testing.T) {
	var p Policy
	p.Scheduler = Weighted
	p.Paths[0].Weight, p.Paths[1].Weight = 80, 20
	c := steer(t, 40e6, 40e6, p)
	start := time.Now()
	got := c.sent(t, c.ends, 5e6)
	t.Logf("%.1f Mbit/s", 5e6*8/1e6/time.Since(start).Seconds())
	if share := 100 * float64(got[0]) / float64(got[0]+got[1]); math.Abs(share-80) > 8 {
		t.Errorf("first path carried %.1f %%, want 80", share)
	}
}

// TestRoundRobin has paths of different rates carry the same.
func TestRoundRobin(t *testing.T) {
	c := steer(t, 40e6, 10e6, Policy{Scheduler: RoundRobin})
	start := time.Now()
	got := c.sent(t, c.ends, 2e6)
	t.Logf("%.1f Mbit/s", 2e6*8/1e6/time.Since(start).Seconds())
	if share := 100 * float64(got[0]) / float64(got[0]+got[1]); math.Abs(share-50) > 8 {
		t.Errorf("first path carried %.1f %%, want 50", share)
	}
}

// TestOpposite steers two connections at once, each onto another path.
func TestOpposite(t *testing.T) {
	one, other := Policy{Scheduler: Weighted}, Policy{Scheduler: Weighted}
	one.Paths[0].Weight, other.Paths[1].Weight = 1, 1
	c := steer(t, 40e6, 40e6, one)
	second := c.connect(t, other)
	c.settle(t, c.ends, 1)
	c.settle(t, second, 0)
	var moving sync.WaitGroup
	for path, e := range []*ends{c.ends, second} {
		moving.Go(func() {
			// What settle moves may all have gone where it belongs because there
			// was never a queue: see there.
			if got := c.sent(t, e, 1e6); got[1-path] > burst {
				t.Errorf("%d bytes on path %d", got[1-path], 1-path)
			}
		})
	}
	moving.Wait()
}

// TestDelayThreshold fills the queue of the first path and lets it run empty.
func TestDelayThreshold(t *testing.T) {
	c := steer(t, 10e6, 10e6, Policy{DelayThreshold: time.Minute, CongestionControl: "cubic"})
	c.settle(t, c.ends, 1)
	c.set(t, c.ends, Policy{DelayThreshold: 5 * time.Millisecond})
	labtest.Await(t, patience, "second path in use", func() bool {
		return c.sent(t, c.ends, 300e3)[1] > 0
	})
	labtest.Await(t, patience, "second path is skipped again", func() bool {
		c.sent(t, c.ends, 1000)
		return c.state(t, c.ends)[1].Limit == 0
	})
}

func TestOverflow(t *testing.T) {
	c := steer(t, 40e6, 40e6, Policy{Scheduler: Overflow})
	c.settle(t, c.ends, 1)
	// Each of these is in flight at once, so that the queue runs empty.
	for range 100 {
		if got := c.sent(t, c.ends, 20e3); got[1] != 0 {
			t.Fatalf("%d bytes on the second path while the first has room", got[1])
		}
	}
	stop := c.bulk(t)
	sent := c.awaitSent(t, c.ends, 1, 1e6)
	t.Logf("second path carried %d bytes beside %d", sent[1], sent[0])
	stop()
}

// TestSmallestDelay has another connection fill the queue of the first path.
func TestSmallestDelay(t *testing.T) {
	full := Policy{Scheduler: Primary, CongestionControl: "cubic"}
	c := steer(t, 10e6, 10e6, full)
	thin := c.connect(t, Policy{Scheduler: SmallestDelay})
	stop := c.bulk(t)
	labtest.Await(t, patience, "thin stream on the second path", func() bool {
		got := c.sent(t, thin, 10e3)
		return got[0] == 0 && got[1] > 0 && c.state(t, c.ends)[0].SRTT > c.state(t, thin)[1].SRTT
	})
	stop()
}

// TestServer answers on the path that was spoken on.
func TestServer(t *testing.T) {
	speak := Policy{Scheduler: Weighted}
	speak.Paths[0].Weight = 1
	c := steer(t, 40e6, 40e6, speak)
	answer := &ends{client: c.server, server: c.client, clientToken: c.serverToken}
	at := &steered{TwoPath: c.TwoPath, s: c.s}
	set := func() error { return c.s.Set(c.serverToken, Policy{Scheduler: Server}) }
	if err := c.Aggregator.Do(set); err != nil {
		t.Fatal(err)
	}
	for _, path := range []int{0, 1, 0} {
		speak.Paths = [MaxPaths]PathPolicy{}
		speak.Paths[path].Weight = 1
		c.set(t, c.ends, speak)
		c.settle(t, c.ends, 1-path)
		labtest.Await(t, patience, fmt.Sprintf("answer on path %d", path), func() bool {
			c.sent(t, c.ends, 1000)
			got := at.sent(t, answer, 200e3)
			return got[path] > 0 && got[1-path] == 0
		})
	}
}

// TestLatePolicy: subflows that were there before the policy are paths in the
// order in which they came, in whatever order the kernel lists them.
func TestLatePolicy(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	for _, addr := range []string{"198.51.100.131", "198.51.100.132", "198.51.100.133"} {
		for _, args := range [][]string{
			{"addr", "add", addr + "/25", "dev", tp.Cell.Dev},
			{"rule", "add", "from", addr, "table", "102"},
			{"mptcp", "endpoint", "add", addr, "dev", tp.Cell.Dev, "subflow"},
		} {
			if err := labtest.Start(t, tp.Client, "ip", args...).Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Client, Options{Steering: true})}
	for range 8 {
		e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
		e.awaitEstablished(t, 5)
		c.set(t, e, Policy{})
		for i, path := range c.state(t, e) {
			if want := uint32(i + 1); i < 5 && path.Subflow != want {
				t.Errorf("path %d has subflow %d, want %d", i, path.Subflow, want)
			}
		}
	}
}

// TestEndsWithoutProgram has a subflow end whose congestion control somebody has
// just changed, so that nothing of the programs runs when it does.
func TestEndsWithoutProgram(t *testing.T) {
	c := steer(t, 0, 0, Policy{})
	c.s.walking.Lock() // nobody changes it back
	letGo := sync.OnceFunc(c.s.walking.Unlock)
	t.Cleanup(letGo)
	raw, err := c.client.SyscallConn()
	if err == nil {
		var setErr error
		err = raw.Control(func(fd uintptr) {
			setErr = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		})
		err = errors.Join(err, setErr)
	}
	if err == nil {
		err = labtest.Start(t, c.Client, "ss", "-K", "src", c.Cell.Addr.V4.String()).Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.awaitEstablished(t, 1)
	letGo()
	labtest.Await(t, patience, "the first path alone", func() bool {
		state := c.state(t, c.ends)
		return state[0].Subflow == 1 && state[1].Subflow == 0
	})
}

// TestAttemptIsNoPath: a subflow that the peer has not answered yet takes no path
// from those that will stand.
func TestAttemptIsNoPath(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	filter(t, tp.Aggregator, "input", fmt.Sprintf("ip saddr %v drop", tp.Cell.Addr.V4))
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Client, Options{Steering: true})}
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	labtest.Await(t, patience, "an attempt", func() bool {
		list := e.subflows(t)
		return len(list) == 2 && list[1].TCP.State == mptcp.StateSynSent
	})
	c.set(t, e, Policy{})
	if state := c.state(t, e); state[0].Subflow != 1 || state[1].Subflow != 0 {
		t.Errorf("%+v, want the first path alone", state[:2])
	}
}
