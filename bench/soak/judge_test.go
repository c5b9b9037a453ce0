// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/records"
)

// warmUp has every part of the gateways used once.
func (w *world) warmUp(t *testing.T) {
	t.Helper()
	random := rand.New(rand.NewPCG(*seed, math.MaxUint64))
	for range 3 {
		w.transfer(t.Context(), w.viaHome, random, 100_000, 0)
		w.transfer(t.Context(), w.viaSOCKS, random, 100_000, 0)
	}
	if n := len(w.tally.failures) + len(w.tally.corrupt); n > 0 {
		t.Fatalf("%d of the first transfers failed: %+v, %v", n, w.tally.failures, w.tally.corrupt)
	}
	labtest.Await(t, patience, "OTLP", func() bool { return w.collector.metrics.Load() > 1 && w.collector.traces.Load() > 0 })
}

// stacks ends the process, which says where its goroutines are: one line each.
func (s *side) stacks(t *testing.T) string {
	t.Helper()
	pid := int(s.pid.Load())
	_ = syscall.Kill(pid, syscall.SIGQUIT)
	labtest.Await(t, patience, s.name+" to end", func() bool { return !alive(pid) })
	_, dump, _ := strings.Cut(s.said(t), "SIGQUIT: quit")
	var lines []string
	for stack := range strings.SplitSeq(dump, "\n\n") {
		var calls []string
		for line := range strings.Lines(stack) {
			if !strings.HasPrefix(line, "\t") {
				name, _, _ := strings.Cut(strings.TrimSpace(line), "(0x")
				calls = append(calls, name)
			}
		}
		lines = append(lines, strings.Join(calls, " < "))
	}
	return strings.Join(lines, "\n")
}

// alive reports whether a process has not ended; one that nobody has waited for
// has.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "State:\tZ")
}

// watchMemory keeps how much the processes that serve hold.
func (w *world) watchMemory(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, s := range []*side{w.home, w.aggregator} {
			if kib, err := resident(int(s.pid.Load())); err == nil {
				s.memory = append(s.memory, sample{time.Since(w.began), kib})
			}
		}
	}
}

func resident(pid int) (kib int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
		}
	}
	return 0, errors.New("no VmRSS")
}

// grown compares the median of the last fifth of the time with that of the fifth
// before the middle.
func (s *side) grown() (before, after int) {
	share := func(from, to float64) int {
		var part []int
		for _, m := range s.memory {
			if at := float64(m.at) / float64(*length); at >= from && at < to {
				part = append(part, m.kib)
			}
		}
		return median(part)
	}
	return share(0.3, 0.5), share(0.8, 1)
}

// ledger is what a gateway has recorded, by the client's address, and how much of
// it was refused, by reason.
func (s *side) ledger() (lines map[string][]records.Line, refused map[string]uint64, err error) {
	f, err := os.Open(s.flows)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines, refused = map[string][]records.Line{}, map[string]uint64{}
	for text := bufio.NewScanner(f); text.Scan(); {
		var l records.Line
		if err := json.Unmarshal(text.Bytes(), &l); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.flows, err)
		}
		lines[l.Client] = append(lines[l.Client], l)
		if l.Refused != "" {
			refused[l.Refused]++
		}
	}
	return lines, refused, nil
}

// judge prints what has happened and says what of it ought not to have.
func (w *world) judge(t *testing.T, before, after *[2]figures) {
	t.Helper()
	books, aborted := map[*side]map[string][]records.Line{}, map[*side]int{}
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(name string, format string, args ...any) {
		fmt.Fprintf(out, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("load", "%v", *length)
	for event, n := range w.happened {
		row(eventNames[event], "%d", n)
		if n == 0 && !left(event) {
			t.Errorf("%s: it did not happen", eventNames[event])
		}
	}
	row("transfers", "%d right", w.tally.transfers)
	row("tunnels", "%d right, of up to %v", w.tally.tunnels, tunnelTime)
	row("bytes", "%d, there and back", w.tally.bytes)
	row("other bytes", "%d", len(w.tally.corrupt))
	row("OTLP", "%d messages of metrics, %d of traces", w.collector.metrics.Load(), w.collector.traces.Load())
	row("fuzzed", "%d connections, %d datagrams", w.tally.fuzzed, w.tally.datagrams)
	for i, s := range []*side{w.home, w.aggregator} {
		var refused map[string]uint64
		labtest.Await(t, patience, "records of "+s.name, func() (same bool) {
			var err error
			if err = s.look(t.Context()); err == nil {
				books[s], refused, err = s.ledger()
			}
			if err != nil {
				t.Fatal(err)
			}
			// Others that were upgraded have counted on after the last look.
			return len(s.old) > 0 || maps.Equal(refused, s.refused())
		})
		row(s.name+" refused", "%v counted, %v recorded", s.refused(), refused)
		now := counted(s.host)
		aborted[s] = now[noMemory] - s.kernel[noMemory]
		row(s.name+" kernel", "%s", cmp.Or(abortions(s.kernel, now), "has ended none"))
		row(s.name+" descriptors", "%d before, %d after", before[i].descriptors, after[i].descriptors)
		row(s.name+" goroutines", "%d before, %d after", before[i].goroutines, after[i].goroutines)
		if !after[i].within(before[i]) {
			t.Errorf("%s holds %+v, and held %+v:\n%s", s.name, after[i], before[i], s.stacks(t))
		}
		early, late := s.grown()
		growth := 100 * (float64(late)/float64(max(early, 1)) - 1)
		row(s.name+" memory", "%d KiB, later %d KiB: %+.1f %%", early, late, growth)
		const most, enough = 5, 5 * time.Minute // %, and the least time that says something
		if growth > most && *length >= enough {
			t.Errorf("%s has grown by %.1f %%", s.name, growth)
		}
	}
	for _, f := range w.tally.corrupt {
		t.Errorf("after %v, %s via %s: %v: %+v", f.at.Round(time.Millisecond), f.local, f.side.name, f.err, books[f.side][f.local])
	}
	explained := map[string]int{}
	for _, f := range w.tally.failures {
		why := f.explanation(books[f.side][f.local])
		if errors.Is(f.err, syscall.ECONNRESET) && aborted[f.side] > 0 && strings.HasPrefix(why, "not ") {
			aborted[f.side]--
			why = f.side.name + " kernel: " + noMemory
		}
		explained[why]++
		if strings.HasPrefix(why, "not ") {
			t.Errorf("after %v, %s via %s, tunnel %v, begun %v: %v: %s: %+v\n%s", f.at.Round(time.Millisecond), f.local, f.side.name, f.tunnel, f.begun, f.err, why, books[f.side][f.local], f.still)
		}
	}
	row("ends that did not come", "%d", len(w.tally.endless))
	// docs/operations.md says why.
	if n := len(w.tally.endless); n > 1+w.tally.transfers/1000 {
		t.Errorf("of %d streams the end did not come: %s", n, w.tally.endless[0].still)
	}
	row("clients refused", "%d", len(w.tally.failures))
	for _, why := range slices.Sorted(maps.Keys(explained)) {
		row("", "%d %s", explained[why], why)
	}
	row("clients without a network", "%d", w.tally.unable)
	out.Flush()
	t.Log("\n" + table.String())
}

var digits = regexp.MustCompile("[0-9]+")

// explanation is what the gateway says of a connection that has failed.
func (f *failure) explanation(lines []records.Line) string {
	for _, l := range lines {
		// Ports are used again.
		if l.Start.Before(f.from.Add(-time.Second)) || l.Start.After(f.to) {
			continue
		}
		switch {
		case !f.begun && l.Refused != "":
			return fmt.Sprintf("%s %s: %s", f.side.name, l.Refused, digits.ReplaceAllString(l.Error, "#"))
		case l.Ended == records.Scarce:
			return f.side.name + " scarce"
		}
	}
	if f.begun {
		return "not whole"
	}
	return "not explained"
}
