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
		{options.InitialWindow, "30", bpf.Policy{InitialWindow: 30}},
		{options.UserTimeout, "30s", bpf.Policy{UserTimeout: 30 * time.Second, AdvertiseUserTimeout: true}},
		{options.InactivityTimeout, "1h", bpf.Policy{}},
	} {
		if got := PolicyOf(setOf(t, test.option, test.text)); got != test.want {
			t.Errorf("%v=%s is %+v, want %+v", test.option, test.text, got, test.want)
		}
	}
}
