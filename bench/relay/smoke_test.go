// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

func TestMain(m *testing.M) {
	experiment.ChildMain(Children)
	goleak.VerifyTestMain(m)
}

// TestQuick runs short forms for real. The references and
// Tandem measure everything; how fast they are is not judged.
func TestQuick(t *testing.T) {
	for id, x := range experimenttest.Quick(t, Experiments) {
		arms := []string{tandemForward, tandemSOCKS5, peers.CopyName}
		if id == telemetry.ID {
			arms = []string{withTelemetry, withoutTelemetry}
		} else if !strings.HasPrefix(id, "relay-idle") {
			arms = append(arms, peers.DirectName)
		}
		for _, arm := range arms {
			for _, m := range x.Metrics {
				values := x.Values(arm, m.Name)
				switch {
				case strings.HasPrefix(m.Name, cpuMetric), m.Name == memoryMetric, m.Name == keptMetric, m.Name == leftMetric:
					// May be too little to be seen.
				case len(values) != 1, values[0] <= 0 && m.Unit != "Gbit/s": // MPTCP may stall for as long as a short form
					t.Errorf("%s: %s of %s: %v", id, m.Name, arm, values)
				}
			}
		}
		for _, out := range x.Out {
			if !strings.Contains(out.Why, peers.ErrMissing.Error()) {
				t.Errorf("%s: %s: %s", id, out.Arm, out.Why)
			}
		}
		if strings.HasPrefix(id, "relay-idle") {
			for _, v := range x.Verdicts {
				if strings.Contains(v.Got, "not all opened") || strings.Contains(v.Got, "next connection") {
					t.Errorf("%s: %+v", id, v)
				}
			}
		}
	}
}

// TestJobsFailCleanly sends clients to relays that are not there or no relays.
func TestJobsFailCleanly(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStage(t.Context(), &experiment.Env{Self: self})
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	nobody := netip.AddrPortFrom(relayAddr, firstRelayPort)
	sourceTCP := sourcePort(load.Answer, false)
	for _, tt := range []struct {
		name string
		job  load.Job
		want string
	}{
		{"nobody listens", load.Job{Workload: load.Connections, Via: nobody}, "refused"},
		{"nobody listens, arrivals", load.Job{Workload: load.Arrivals, Via: nobody, PerSecond: 10}, "refused"},
		{"nobody listens, bulk", load.Job{Workload: load.BulkUp, Via: nobody}, "refused"},
		{"not SOCKS5", load.Job{Workload: load.Connections, Via: sourceTCP, Target: sourceTCP}, "no answer within"},
		{"not MPTCP", load.Job{Workload: load.Connections, Via: sourceTCP, MPTCP: true}, "MPTCP"},
		{"not MPTCP, arrivals", load.Job{Workload: load.Arrivals, Via: sourceTCP, MPTCP: true, PerSecond: 10}, "MPTCP"},
		{"not MPTCP, bulk", load.Job{Workload: load.BulkDown, Via: sourcePort(load.Flood, false), MPTCP: true}, "MPTCP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.job.Streams, tt.job.Duration, tt.job.Patience = 2, 10*time.Second, 200*time.Millisecond
			if tt.job.Workload == load.Arrivals {
				tt.job.Duration = 300 * time.Millisecond
			}
			r, err := s.do(t.Context(), tt.job)
			if err != nil {
				t.Fatal(err)
			}
			if r.Failed == 0 || !strings.Contains(r.Error, tt.want) {
				t.Errorf("%+v, want an error with %q", r, tt.want)
			}
			if r.NotMPTCP != tt.job.MPTCP {
				t.Errorf("NotMPTCP is %t", r.NotMPTCP)
			}
		})
	}
	if _, err := s.do(t.Context(), load.Job{Workload: "nonsense"}); err == nil || !strings.Contains(err.Error(), "unknown workload") {
		t.Errorf("an unknown workload: %v", err)
	}
}
