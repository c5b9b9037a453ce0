// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

// TestBenchmark runs one scenario of each kind with Tandem's engine, without a
// relay and with io.Copy, each for a moment: it is about the benchmark, not
// about speed.
func TestBenchmark(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all, err := choosePeers(peers.All(peers.Tools{Self: self}), peers.TandemName)
	if err != nil {
		t.Fatal(err)
	}
	some, err := chooseScenarios("bulk-up-mptcp,bulk-down-tcp,connections-mptcp,idle-mptcp")
	if err != nil {
		t.Fatal(err)
	}
	var progress, written, jsonLines bytes.Buffer
	o := options{
		runs: 1, cell: 50 * time.Millisecond, tunnels: 100, settle: time.Millisecond, giveBack: 200 * time.Millisecond, congestion: "reno",
		peers: all, scenarios: some, self: self, progress: &progress,
	}
	r := report.New(experiment.ThisMachine(t.Context()), report.JSONLines(&jsonLines))
	err = measureAll(t.Context(), o, r)
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Write(&written, o.about())
	defer func() {
		if t.Failed() {
			t.Logf("progress:\n%s\nreport:\n%s", &progress, &written)
		}
	}()

	lines := json.NewDecoder(&jsonLines)
	var machine experiment.Machine
	if err := lines.Decode(&machine); err != nil || machine.Kernel == "" {
		t.Errorf("machine %+v, %v", machine, err)
	}
	samples := 0
	for ; lines.More(); samples++ {
		var s report.Sample
		if err := lines.Decode(&s); err != nil {
			t.Fatal(err)
		}
		checkSample(t, &s, o.tunnels)
	}
	want := 0
	for _, s := range o.scenarios {
		want += len(all)
		if s.Kind == report.Tunnels {
			want-- // direct has none
		}
	}
	if samples != want {
		t.Errorf("%d samples, want %d", samples, want)
	}
	for _, s := range o.scenarios {
		if !strings.Contains(written.String(), "\n"+s.Name+": ") {
			t.Errorf("the report has no table %s", s.Name)
		}
	}
}

// checkSample wants everything to have worked.
func checkSample(t *testing.T, s *report.Sample, tunnels int) {
	t.Helper()
	name := s.Scenario + " " + s.Peer + " " + s.Front
	if s.Error != "" || s.Failed > 0 || s.Note != "" {
		t.Errorf("%s: error %q, note %q, %d failed", name, s.Error, s.Note, s.Failed)
		return
	}
	if !strings.HasPrefix(s.Scenario, "idle") {
		if s.Rate <= 0 {
			t.Errorf("%s: rate %v", name, s.Rate)
		}
		return
	}
	h := s.Held
	if h == nil || h.Opened != tunnels || !h.Survived || h.Next <= 0 || h.Descriptors[1] < 2*tunnels || s.Peer == peers.TandemName && h.Descriptors[2] > h.Descriptors[0]+2 {
		t.Errorf("%s: %+v", name, h)
	}
}

// TestJobsFailCleanly sends clients to relays that are not there or no relays.
func TestJobsFailCleanly(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStage(t.Context(), self, "reno")
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
	nobody := relayPort(0)
	sourceTCP := sourcePort(load.Answer, false)
	for _, tt := range []struct {
		name string
		job  load.Job
		want string
	}{
		{"nobody listens", load.Job{Workload: load.Connections, Via: nobody}, "refused"},
		{"nobody listens, bulk", load.Job{Workload: load.BulkUp, Via: nobody}, "refused"},
		{"not SOCKS5", load.Job{Workload: load.Connections, Via: sourceTCP, Target: sourceTCP}, "no answer within"},
		{"not MPTCP", load.Job{Workload: load.Connections, Via: sourceTCP, MPTCP: true}, "MPTCP"},
		{"not MPTCP, bulk", load.Job{Workload: load.BulkDown, Via: sourcePort(load.Flood, false), MPTCP: true}, "MPTCP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.job.Streams, tt.job.Duration, tt.job.Patience = 2, 10*time.Second, 200*time.Millisecond
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
