// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
)

// connection is one with two subflows, of which the second has a share.
func connection(first, second uint64) *trace.Connection {
	ms := trace.Millis(time.Millisecond)
	return &trace.Connection{
		Outcome: trace.Multipath, Ending: trace.DataFIN, Version: 1, Duration: 2000 * ms,
		Client: netip.MustParseAddrPort("192.0.2.1:1"), Server: netip.MustParseAddrPort("192.0.2.2:2"),
		Up: trace.Data{Bytes: 10}, Down: trace.Data{Bytes: first + second - 50, Reinjected: 50, Retransmitted: 7, RTT: trace.RTT{Samples: 3, Median: 25 * ms}},
		Subflows: []trace.Subflow{
			{OpenedBy: "client", Opening: trace.Established, Handshake: 20 * ms, Up: trace.Flow{Bytes: 10}, Down: trace.Flow{Bytes: first - 10, Retransmitted: 7, RTT: trace.RTT{Samples: 2, Median: 22 * ms}}, Close: trace.Close{How: trace.ByFIN}},
			{OpenedBy: "server", Opening: trace.Established, Join: 30 * ms, Handshake: 15 * ms, Backup: true, Priorities: 2, Down: trace.Flow{Bytes: second, Reinjected: 50}, Close: trace.Close{How: trace.ByReset, Reason: "lack of resources"}},
			{OpenedBy: "client", Opening: trace.NotAnswered},
		},
		Announced: make([]trace.Announcement, 1), Removed: make([]trace.Removal, 2), Fails: 1,
	}
}

func sample() *Summary {
	s := New()
	s.Add(connection(750, 250))
	s.Add(&trace.Connection{Outcome: trace.FellBack, Fallback: trace.NoSignal, Up: trace.Data{Bytes: 5}, Down: trace.Data{Bytes: 6}, Subflows: make([]trace.Subflow, 1)})
	s.Add(&trace.Connection{Outcome: trace.Refused, Subflows: make([]trace.Subflow, 1)})
	s.End(packet.Stats{Packets: 1234567}, trace.Counts{MPTCP: 3, TCP: 4})
	return s
}

func TestSummary(t *testing.T) {
	s := sample()
	d := &s.Distributions
	for name, v := range map[string]struct{ got, want float64 }{
		"MPTCP":            {float64(s.Outcomes[trace.Multipath]), 1},
		"fallbacks":        {float64(s.Fallbacks[trace.NoSignal]), 1},
		"fallback bytes":   {float64(s.FallbackBytes), 11},
		"down":             {float64(s.Down.Bytes), 950},
		"reinjected":       {float64(s.Down.Reinjected), 50},
		"with two":         {float64(s.Established[2]), 1},
		"unanswered":       {float64(s.Joins[trace.NotAnswered]), 1},
		"by server":        {float64(s.JoinsByServer), 1},
		"backups":          {float64(s.Backups), 1},
		"unused":           {float64(s.Unused), 0},
		"reason":           {float64(s.Resets["lack of resources"]), 1},
		"MP_PRIO":          {float64(s.Options.Prio), 2},
		"REMOVE_ADDR":      {float64(s.Options.RemoveAddr), 2},
		"duration":         {d.Duration.Percentile(50), 2},
		"bytes":            {d.Bytes.Percentile(50), 960},
		"join":             {d.Join.Percentile(50), 30},
		"RTT difference":   {d.RTTDifference.Percentile(50), -5},
		"first share":      {d.FirstShare.Percentile(50), 75},
		"reinjected share": {d.Reinjected.Percentile(50), 5},
		"RTT":              {d.RTT.Percentile(50), 22},
		"data RTT":         {d.DataRTT.Percentile(50), 25},
	} {
		if math.Abs(v.got-v.want) > math.Abs(v.want)/500 {
			t.Errorf("%s: %v, want %v", name, v.got, v.want)
		}
	}
	var text bytes.Buffer
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1,234,567", "data without DSS: 1", "33.3 %", "lack of resources: 1", "established: 1, unanswered: 1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	if text, err := json.Marshal(s); err != nil || !bytes.Contains(text, []byte(`"join_delay_ms":{"count":1,`)) {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestPages are of everything, of little and of nothing.
func TestPages(t *testing.T) {
	for name, s := range map[string]*Summary{"all <b>": sample(), "nothing": New()} {
		var page, text bytes.Buffer
		if err := s.WritePage(&page, name); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(&text); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(page.Bytes(), []byte("<svg")); n != len(s.Plots()) || bytes.Contains(page.Bytes(), []byte("<b>")) || strings.Contains(text.String(), "NaN") {
			t.Errorf("%s: %d plots of %d", name, n, len(s.Plots()))
		}
	}
}

// TestDistribution compares with sorted values.
func TestDistribution(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e4, 1e4), 1, 50).Draw(t, "values")
		p := rapid.Float64Range(0, 100).Draw(t, "percentile")
		d := newDistribution(1e-3)
		for _, v := range values {
			d.record(v)
		}
		slices.Sort(values)
		rank := max(int(math.Ceil(p/100*float64(len(values)))), 1)
		if want, got := values[rank-1], d.Percentile(p); math.Abs(got-want) > math.Abs(want)/500+2e-3 {
			t.Fatalf("percentile %v of %v is %v, want %v", p, values, got, want)
		}
		if n := len(d.Values()); n != len(values) {
			t.Fatalf("%d values of %d", n, len(values))
		}
	})
}
