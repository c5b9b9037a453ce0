// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
)

func setOf(t *testing.T, o options.Option, text string) options.Set {
	t.Helper()
	v, err := o.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := options.Set{}.With(o, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPolicyOf(t *testing.T) {
	every := bpf.Policy{}
	for i := range every.Paths {
		every.Paths[i].RateLimit = 8_000_000
	}
	for _, test := range []struct {
		option options.Option
		text   string
		want   bpf.Policy
	}{
		{options.Scheduler, "default", bpf.Policy{}},
		{options.Scheduler, "primary", bpf.Policy{Scheduler: bpf.Primary}},
		{options.Scheduler, "smallest-delay", bpf.Policy{Scheduler: bpf.SmallestDelay}},
		{options.Scheduler, "round-robin", bpf.Policy{Scheduler: bpf.RoundRobin}},
		{options.Scheduler, "server", bpf.Policy{Scheduler: bpf.Server}},
		{options.Scheduler, "overflow", bpf.Policy{Scheduler: bpf.Overflow}},
		{options.Scheduler, "auto", bpf.Policy{Scheduler: bpf.Auto}},
		{options.Scheduler, "weighted:80,20", bpf.Policy{Scheduler: bpf.Weighted, Paths: [bpf.MaxPaths]bpf.PathPolicy{{Weight: 80}, {Weight: 20}}}},
		{options.SubflowRateLimit, "2:4Mbit", bpf.Policy{Paths: [bpf.MaxPaths]bpf.PathPolicy{{}, {RateLimit: 4_000_000}}}},
		{options.SubflowRateLimit, "2:0", bpf.Policy{Paths: [bpf.MaxPaths]bpf.PathPolicy{{}, {Drain: true}}}},
		{options.SubflowRateLimit, "8Mbit", every},
		{options.SubflowRateLimit, "default", bpf.Policy{}},
		{options.DelayThreshold, "80ms", bpf.Policy{DelayThreshold: 80 * time.Millisecond}},
		{options.CongestionControl, "bbr", bpf.Policy{CongestionControl: "bbr"}},
		{options.InitialWindow, "30", bpf.Policy{Options: bpf.SubflowOptions{options.InitialWindow: 30}}},
		{options.InitialWindow, "1001", bpf.Policy{}},
		{options.UserTimeout, "30s", bpf.Policy{
			Options:               bpf.SubflowOptions{options.UserTimeout: 30_000},
			AdvertisedUserTimeout: 30 * time.Second,
		}},
		{options.DelayedACK, "25%", bpf.Policy{}},
		{options.InactivityTimeout, "1h", bpf.Policy{}},
	} {
		if got := PolicyOf(setOf(t, test.option, test.text)); got != test.want {
			t.Errorf("%v=%s is %+v, want %+v", test.option, test.text, got, test.want)
		}
	}
}

func TestDelayACK(t *testing.T) {
	for rtt, us := range map[time.Duration]uint32{
		time.Millisecond: 10_000, 200 * time.Millisecond: 50_000, 4 * time.Second: 200_000,
	} {
		var p bpf.Policy
		v, err := options.DelayedACK.Parse("25%")
		if err != nil {
			t.Fatal(err)
		}
		if DelayACK(&p, v, rtt); p != (bpf.Policy{Options: bpf.SubflowOptions{options.DelayedACK: us}}) {
			t.Errorf("a quarter of %v is %+v, want %d µs", rtt, p.Options, us)
		}
	}
}

// What an option tells the kernel has a place in what the programs are told.
func TestEveryOptionHasAPlace(t *testing.T) {
	for o := range options.All() {
		s, err := options.Set{}.With(o, 1)
		v, _ := s.Value(o)
		told, unsupported := o.OnSubflow(v)
		if err != nil || unsupported != nil || told == 0 {
			continue
		}
		if got := PolicyOf(s).Options[o]; got != told {
			t.Errorf("%v is %d for the programs, want %d", o, got, told)
		}
	}
}
