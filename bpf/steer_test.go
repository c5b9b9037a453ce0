// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// steered is a connection between two hosts with two links, whose client sends.
type steered struct {
	*ends
	*lab.TwoPath
	s *Steering
}

// steeringIn runs the programs for connections of a host.
func steeringIn(t testing.TB, h *lab.Host, o Options) *Steering {
	t.Helper()
	needPrograms(t)
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	var p *Programs
	if err := h.Do(func() (err error) {
		p, err = Open(o)
		return err
	}); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Missing(); err != nil {
		t.Fatalf("%+v", err)
	}
	for name, err := range p.Steering().CongestionControls() {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return p.Steering()
}

// steer makes a connection over links with these rates, with both subflows
// known to the programs, under a policy.
func steer(t *testing.T, wifi, cell uint64, p Policy) *steered {
	t.Helper()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: wifi}, Cell: lab.LinkSpec{Rate: cell}})
	return steerOver(t, tp, Options{Steering: true, Requests: true}, p)
}

func steerOver(t *testing.T, tp *lab.TwoPath, o Options, p Policy) *steered {
	t.Helper()
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Client, o)}
	c.ends = c.connect(t, p)
	return c
}

func (c *steered) connect(t *testing.T, p Policy) *ends {
	t.Helper()
	e := connectIn(t, c.Client, c.Aggregator, c.AggregatorAddr.V4)
	c.set(t, e, p)
	labtest.Await(t, patience, "two subflows", func() bool {
		return c.state(t, e)[1].Subflow != 0
	})
	return e
}

func (c *steered) set(t *testing.T, e *ends, p Policy) {
	t.Helper()
	if err := c.Client.Do(func() error { return c.s.Set(e.clientToken, p) }); err != nil {
		t.Fatal(err)
	}
}

func (c *steered) state(t *testing.T, e *ends) [MaxPaths]PathState {
	t.Helper()
	state, err := c.s.State(e.clientToken)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// sent moves n bytes from the client and tells how many went onto each path.
func (c *steered) sent(t *testing.T, e *ends, n int64) [2]int64 {
	t.Helper()
	before := c.state(t, e)
	e.move(t, e.client, e.server, n)
	after := c.state(t, e)
	var bytes [2]int64
	for i := range bytes {
		bytes[i] = int64(after[i].Sent - before[i].Sent)
	}
	return bytes
}

// burst is what the kernel puts on a subflow before it chooses again
// (MPTCP_SEND_BURST_SIZE in net/mptcp/protocol.c).
const burst = 64 << 10

// settle moves data until none of it goes onto a path: the kernel may still put
// a burst on a subflow that is to be skipped, before it looks at its rate.
func (c *steered) settle(t *testing.T, e *ends, path int) {
	t.Helper()
	labtest.Await(t, patience, fmt.Sprintf("no data on path %d", path), func() bool {
		return c.sent(t, e, 100e3)[path] == 0
	})
}

// bulk has the client send without end. Calling stop ends it, with all that was
// sent received.
func (e *ends) bulk(t *testing.T) (stop func()) {
	t.Helper()
	var received, sent int64
	var moving sync.WaitGroup
	moving.Go(func() {
		block := make([]byte, 64<<10)
		for {
			n, err := e.client.Write(block)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		e.client.CloseWrite()
	})
	moving.Go(func() { received, _ = io.Copy(io.Discard, e.server) })
	stop = sync.OnceFunc(func() {
		e.client.SetWriteDeadline(time.Unix(0, 1))
		e.server.SetReadDeadline(time.Now().Add(patience))
		moving.Wait()
		if sent != received {
			t.Errorf("%d of %d bytes received", received, sent)
		}
	})
	t.Cleanup(stop)
	return stop
}

// awaitSent waits until n more bytes went onto a path, and tells how many went
// onto each.
func (c *steered) awaitSent(t *testing.T, e *ends, path int, n uint64) (sent [2]uint64) {
	t.Helper()
	before := c.state(t, e)
	labtest.Await(t, patience, fmt.Sprintf("%d bytes on path %d", n, path), func() bool {
		after := c.state(t, e)
		for i := range sent {
			sent[i] = after[i].Sent - before[i].Sent
		}
		return sent[path] >= n
	})
	return sent
}

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
			if got := c.sent(t, e, 1e6); got[1-path] != 0 {
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
	c := steer(t, 40e6, 40e6, Policy{Scheduler: Primary, UserTimeout: time.Minute})
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

func TestUserTimeout(t *testing.T) {
	c := steer(t, 0, 0, Policy{UserTimeout: time.Second})
	filter(t, c.Aggregator, "input", "iifname cell meta l4proto tcp drop")
	stop := c.bulk(t)
	labtest.Await(t, patience, "second subflow is given up", func() bool { return c.state(t, c.ends)[1].Subflow == 0 })
	if state := c.state(t, c.ends); state[0].Refused != 0 || state[0].Subflow != 1 {
		t.Errorf("first path: %+v", state[0])
	}
	stop()
}

// TestOptions: the second subflow has not sent data yet, the first has.
func TestOptions(t *testing.T) {
	c := steer(t, 0, 0, Policy{InitialWindow: 42, DelayedACK: 20 * time.Millisecond})
	state := c.state(t, c.ends)
	if state[0].Refused != InitialWindow || state[1].Refused != 0 {
		t.Errorf("refused %v and %v, want the initial window on the first", state[0].Refused, state[1].Refused)
	}
	out, err := c.Client.Command(t.Context(), "ss", "-tin").Output()
	if err != nil {
		t.Skip(err)
	}
	if n := strings.Count(string(out), " cwnd:42 "); n != 1 {
		t.Errorf("%d subflows with the window, want 1:\n%s", n, out)
	}
	c.set(t, c.ends, Policy{})
	if state := c.state(t, c.ends); state[1].Refused != 0 {
		t.Errorf("refused %v when taken back", state[1].Refused)
	}
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
		"initial window":     {InitialWindow: MaxInitialWindow + 1},
		"user timeout":       {UserTimeout: time.Microsecond},
		"delayed ACK":        {DelayedACK: MaxDelayedACK + 1},
	} {
		if err := s.Set(1, p); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
