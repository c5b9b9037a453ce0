// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// readAll reads requests until the end of the test.
func readAll(t *testing.T, s *Steering) <-chan Asked {
	t.Helper()
	asked := make(chan Asked, 100)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			var a Asked
			if err := s.Read(&a); err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			asked <- a
		}
	})
	t.Cleanup(func() {
		s.incoming.Close()
		reading.Wait()
	})
	return asked
}

// next waits for what comes to a connection, and passes over repetitions of
// what came before.
func next(t *testing.T, asked <-chan Asked, token uint32) Asked {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case a := <-asked:
			if a.Token == token {
				return a
			}
		case <-timeout:
			t.Fatalf("nothing came to connection %08x", token)
		}
	}
}

func at(t *testing.T, h *lab.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatal(err)
	}
}

// TestAskAndAnswer has the sender of bulk ask, which makes no ACKs of its own.
func TestAskAndAnswer(t *testing.T) {
	c := steer(t, 20e6, 20e6, Policy{})
	asked := readAll(t, c.s)
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 0, 100_000)
	want := Record{Type: 3, Value: [3]byte{1, 2, 3}}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, want) })
	granted := Record{Type: 3, Value: [3]byte{0, 0, 9}}
	var a Asked
	for a.Token != c.clientToken {
		if a = <-asked; a.Token != c.serverToken {
			continue
		}
		// It is repeated, since the answer might be one to something else.
		if a.Record != want || a.Answer || a.Subflow == 0 {
			t.Errorf("%+v", a)
		}
		at(t, c.Aggregator, func() error {
			unknown := Reply{Token: ^c.serverToken, Record: granted}
			if err := c.s.Answer(unknown, Reply{Token: c.serverToken, Record: granted}); !errors.Is(err, ErrNoSubflow) {
				t.Errorf("one of two answers goes nowhere, and %v", err)
			}
			return nil
		})
	}
	if a.Record != granted || !a.Answer {
		t.Errorf("%+v", a)
	}
	var left schedulerRequests
	if err := c.s.common.Maps[schedulerMapOutgoing].Lookup(&c.clientToken, &left); err != nil || left.All[0].Option.Kind != 0 {
		t.Errorf("answered, but %+v, %v", left.All[0], err)
	}
	stop()
}

// TestIPv6 asks over, and steers, a connection between IPv6 addresses.
func TestIPv6(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}, Cell: lab.LinkSpec{Rate: 20e6}})
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Client, Options{Steering: true, Requests: true})}
	asked := readAll(t, c.s)
	c.ends = connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V6)
	c.set(t, c.ends, Policy{})
	labtest.Await(t, patience, "two subflows", func() bool { return c.state(t, c.ends)[1].Subflow != 0 })
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 1, 200_000)
	want := Record{Type: 3, Value: [3]byte{1, 2, 3}}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, want) })
	if a := next(t, asked, c.serverToken); a.Record != want || a.Answer {
		t.Errorf("%+v", a)
	}
	stop()
	// That has closed the way up.
	back := &ends{client: c.server, server: c.client, clientToken: c.serverToken}
	other := &steered{TwoPath: tp, s: c.s, ends: back}
	at(t, tp.Aggregator, func() error { return c.s.Set(c.serverToken, Policy{Scheduler: Primary}) })
	other.settle(t, back, 1)
}

// TestUnanswered counts the packets that carry a request.
func TestUnanswered(t *testing.T) {
	c := steer(t, 20e6, 20e6, Policy{})
	wifi := labtest.Capture(t, c.Aggregator, "wifi", "tcp")
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 1, Record{Type: 5}) })
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 0, 1e6)
	labtest.Await(t, patience, "an end of the attempts", func() bool {
		var r schedulerRequests
		err := c.s.common.Maps[schedulerMapOutgoing].Lookup(&c.clientToken, &r)
		return err == nil && r.All[0].Left == 0
	})
	stop()
	segments, err := wifi.Stop()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range segments {
		if _, ok := s.Options.Find(kindExperiment); !ok {
			continue
		}
		n++
		if len(s.Payload) > 0 {
			t.Error("a request beside data")
		}
	}
	if n == 0 || n > RequestAttempts {
		t.Errorf("%d packets carried the request, want up to %d", n, RequestAttempts)
	}
}

// TestHooksOnlyInFlight counts how often the program runs during a transfer.
func TestHooksOnlyInFlight(t *testing.T) {
	c := steerOver(t, labtest.TwoPath(t, lab.TwoPathSpec{}), Options{Steering: true}, Policy{})
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	runs := func() uint64 {
		before, err := c.s.common.Programs[schedulerProgTandemRequest].Stats()
		if err != nil {
			t.Fatal(err)
		}
		c.move(t, c.client, c.server, 50_000)
		after, err := c.s.common.Programs[schedulerProgTandemRequest].Stats()
		if err != nil {
			t.Fatal(err)
		}
		return after.RunCount - before.RunCount
	}
	if n := runs(); n != 0 {
		t.Errorf("%d runs before a request", n)
	}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, Record{Type: 5}) })
	if n := runs(); n == 0 {
		t.Error("no runs with a request")
	}
	labtest.Await(t, patience, "no runs after the last attempt", func() bool { return runs() == 0 })
	if c.s.Ignored() != 0 {
		t.Errorf("%d requests ignored where nobody listens", c.s.Ignored())
	}
}

// The callback flags of include/uapi/linux/bpf.h.
const (
	readHook  = 1 << 4 // BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG
	writeHook = 1 << 6 // BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG
)

// hooks are the callback flags of the subflows of a connection.
func (c *steered) hooks(t *testing.T, h *lab.Host, token uint32) (flags []uint32) {
	t.Helper()
	at(t, h, func() error {
		return c.s.walk(func(found, hooks uint32) {
			if found == token {
				flags = append(flags, hooks)
			}
		})
	})
	return flags
}

// every tells whether all subflows have exactly these of the flags that options
// need.
func every(flags []uint32, want uint32) bool {
	for _, f := range flags {
		if f&(readHook|writeHook) != want {
			return false
		}
	}
	return len(flags) > 0
}

// TestHookFlags looks at the flags of subflows while the client sends bulk.
func TestHookFlags(t *testing.T) {
	c := steer(t, 20e6, 20e6, Policy{})
	readAll(t, c.s) // and nobody answers
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 0, 100_000)
	at(t, c.Aggregator, func() error { return c.s.Answer(Reply{Token: c.serverToken}) })
	labtest.Await(t, patience, "an answer that is written", func() bool {
		var r schedulerRequests
		err := c.s.common.Maps[schedulerMapOutgoing].Lookup(&c.serverToken, &r)
		return err == nil && r.All[0].Option.Kind == 0
	})
	c.awaitSent(t, c.ends, 0, c.state(t, c.ends)[0].Sent+1_000_000)
	if flags := c.hooks(t, c.Client, c.clientToken); !every(flags, 0) {
		t.Errorf("before a request: %#x", flags)
	}
	if flags := c.hooks(t, c.Aggregator, c.serverToken); !every(flags, readHook) {
		t.Errorf("of the peer, which may be asked: %#x", flags)
	}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, Record{Type: 5}) })
	if flags := c.hooks(t, c.Client, c.clientToken); !every(flags, readHook) {
		t.Errorf("with a request in flight: %#x", flags)
	}
	labtest.Await(t, patience, "no hooks after the last attempt", func() bool {
		flags := c.hooks(t, c.Client, c.clientToken)
		for _, f := range flags {
			if f&writeHook != 0 {
				t.Errorf("the hook for writing is on for data: %#x", flags)
			}
		}
		return every(flags, 0)
	})
	stop()
}

// TestAskUnderLoss has a receiver ask whose ACKs often have no room for an
// option, because they tell of losses.
func TestAskUnderLoss(t *testing.T) {
	link := lab.LinkSpec{Rate: 20e6, Delay: 2 * time.Millisecond, Loss: emulator.RandomLoss(0.02)}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	c := steerOver(t, tp, Options{Steering: true, Requests: true}, Policy{})
	asked := readAll(t, c.s)
	var moving sync.WaitGroup
	moving.Go(func() { c.move(t, c.server, c.client, 2_000_000) })
	defer moving.Wait()
	want := Record{Type: 3, Value: [3]byte{1, 2, 3}}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, want) })
	if a := next(t, asked, c.serverToken); a.Record != want || a.Answer {
		t.Errorf("%+v", a)
	}
}

func TestUserTimeoutOption(t *testing.T) {
	c := steer(t, 0, 0, Policy{})
	asked := readAll(t, c.s)
	c.set(t, c.ends, Policy{AdvertisedUserTimeout: 89*time.Second + 1})
	c.move(t, c.server, c.client, 100_000) // has the client acknowledge
	if a := next(t, asked, c.serverToken); a.UserTimeout != 90*time.Second {
		t.Errorf("%+v", a)
	}
}

func TestUserTimeoutCoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, int64(maxUserTimeout*time.Minute)).Draw(t, "d"))
		coded, err := encodeUserTimeout(d)
		if err != nil {
			t.Fatal(err)
		}
		unit := time.Second
		if coded&minutesBit != 0 {
			unit = time.Minute
		}
		if back := decodeUserTimeout(coded); back < d || back-d >= unit {
			t.Errorf("%v was coded as %v", d, back)
		}
	})
	for _, d := range []time.Duration{0, -1, (maxUserTimeout + 1) * time.Minute} {
		if _, err := encodeUserTimeout(d); !errors.Is(err, ErrPolicy) {
			t.Errorf("%v: %v", d, err)
		}
	}
	// RFC 5482, section 2: granularity, then the value.
	if coded, _ := encodeUserTimeout(10 * time.Hour); coded != binary.BigEndian.Uint16([]byte{0x80 | 600>>8, 600 & 0xff}) {
		t.Errorf("ten hours are %#x", coded)
	}
}

// TestLateAnswer has an answer come to a request that was not written yet: it is
// one to an earlier request, and the new one is made nevertheless.
func TestLateAnswer(t *testing.T) {
	c := steer(t, 0, 0, Policy{})
	asked := readAll(t, c.s)
	// Nothing is written before something comes.
	at(t, c.Aggregator, func() error {
		return c.s.Answer(Reply{Token: c.serverToken, Record: Record{Type: 3, Value: [3]byte{0, 0, 9}}})
	})
	want := Record{Type: 3, Value: [3]byte{1, 2, 3}}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, want) })
	c.move(t, c.client, c.server, 1)
	c.move(t, c.server, c.client, 100_000)
	if a := next(t, asked, c.serverToken); a.Record != want || a.Answer {
		t.Errorf("%+v", a)
	}
}

// TestLateAnswerInFlight has an answer come to a request that was written, but was
// lost on its way: it says something else than what was asked for, and is one to an
// earlier request. The new one is repeated until the peer has heard of it.
func TestLateAnswerInFlight(t *testing.T) {
	c := steer(t, 0, 0, Policy{})
	asked := readAll(t, c.s)
	filter(t, c.Aggregator, "input", "meta l4proto tcp tcp option 254 exists drop")
	want := Record{Type: 3, Value: [3]byte{1, 2, 3}}
	at(t, c.Client, func() error { return c.s.Ask(c.clientToken, 0, want) })
	written := func() uint32 {
		var r schedulerRequests
		if err := c.s.common.Maps[schedulerMapOutgoing].Lookup(&c.clientToken, &r); err != nil {
			t.Fatal(err)
		}
		return r.All[0].Written
	}
	labtest.Await(t, patience, "a request that is written", func() bool {
		c.move(t, c.server, c.client, 1)
		return written() > 0
	})
	at(t, c.Aggregator, func() error {
		return c.s.Answer(Reply{Token: c.serverToken, Record: Record{Type: 3, Value: [3]byte{0, 0, 9}}})
	})
	labtest.Await(t, patience, "an answer that is written", func() bool {
		c.move(t, c.client, c.server, 1)
		var r schedulerRequests
		err := c.s.common.Maps[schedulerMapOutgoing].Lookup(&c.serverToken, &r)
		return err == nil && r.All[0].Written > 0
	})
	labtest.Start(t, c.Aggregator, "nft", "flush", "ruleset").Wait()
	labtest.Await(t, patience, "the request to come", func() bool {
		c.move(t, c.server, c.client, 1)
		select {
		case a := <-asked:
			return a.Token == c.serverToken && a.Record == want && !a.Answer
		default:
			return false
		}
	})
}
