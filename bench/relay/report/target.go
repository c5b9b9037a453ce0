// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// The rows that targets are about.
var (
	tandemForward = row{"tandem", "forward"}
	tandemSOCKS   = row{"tandem", "socks5"}
	tandemTold    = row{"tandem-told", "forward"}
)

// Limits of idle tunnels.
const (
	maxMemoryEach      = 1000 // bytes
	maxDescriptorsEach = 2
)

// verdict is one line on a target.
type verdict struct{ target, value, word string }

// writeTargets writes which targets are met. Those whose scenarios were not
// run, or for whom there is nothing to compare with, are left out.
func (r *Report) writeTargets(w io.Writer) {
	var verdicts []verdict
	for i := range r.scenarios {
		verdicts = append(verdicts, r.judge(&r.scenarios[i])...)
	}
	if len(verdicts) == 0 {
		return
	}
	fmt.Fprintln(w, "\ntargets")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range verdicts {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", v.target, v.value, v.word)
	}
	t.Flush()
}

// judge holds the results of a scenario against its targets.
func (r *Report) judge(s *Scenario) []verdict {
	table := r.samples[s.Name]
	many := strings.HasPrefix(s.Name, "bulk8")
	var all []verdict
	add := func(own, other []Sample, least float64, text string) {
		v := verdict{target: fmt.Sprintf("%s: %s ≥ %.2f", s.Name, text, least)}
		ratio := Ratio(own, other)
		switch {
		case ratio.N > 0:
			v.value, v.word = fmt.Sprintf("%.2f (%.2f–%.2f)", ratio.Median, ratio.Low, ratio.High), ratio.against(least)
		case len(own) > 0:
			v.value, v.word = notes(own), "missed"
		default:
			return // was not run
		}
		all = append(all, v)
	}
	// against compares with the best peer of a front, or of all.
	against := func(own row, front string, least float64) {
		var sets [][]Sample
		var names []string
		for _, key := range r.rows {
			if key.peer != own.peer && key != tandemTold && key != directRow && key != copyRow && (front == "" || key.front == front) {
				sets = append(sets, table[key])
				names = append(names, key.peer)
			}
		}
		if i, set := best(sets); i >= 0 {
			add(table[own], set, least, fmt.Sprintf("tandem %s / %s, the best peer", own.front, names[i]))
		}
	}
	if told := table[tandemTold]; len(told) > 0 && s.Kind != Tunnels {
		add(told, table[tandemForward], 0.99, "tandem with telemetry / without")
		return all
	}
	switch {
	case s.Kind == Bulk && many:
		add(table[tandemForward], table[directRow], 0.85, "tandem forward / direct")
		against(tandemForward, "", 1)
	case s.Kind == Bulk:
		add(table[tandemForward], table[copyRow], 0.95, "tandem forward / io.Copy")
	case s.Kind == Connections:
		against(tandemForward, "forward", 1)
		against(tandemSOCKS, "socks5", 1.3)
	case s.Kind == Tunnels:
		for _, key := range []row{tandemForward, tandemSOCKS} {
			for _, sample := range table[key] {
				all = append(all, judgeHeld(s, key, &sample))
			}
		}
	}
	return all
}

// against says in a word how a ratio compares with the least it should be.
func (s Summary) against(least float64) string {
	switch {
	case s.Median >= least && s.Low >= least:
		return "met"
	case s.Median >= least:
		return "met, within noise"
	case s.High >= least:
		return "missed, within noise"
	default:
		return "missed"
	}
}

// judgeHeld holds idle tunnels against their targets.
func judgeHeld(s *Scenario, key row, sample *Sample) verdict {
	v := verdict{target: fmt.Sprintf("%s: tandem %s, %d descriptors, ≤ %.1f kB each, survives, next served, all given back",
		s.Name, key.front, maxDescriptorsEach, float64(maxMemoryEach)/1e3)}
	h := sample.Held
	if h == nil {
		v.value, v.word = sample.Error, "missed"
		return v
	}
	v.value = fmt.Sprintf("%d of %d: %.2f, %.2f kB", h.Opened, h.Wanted, h.DescriptorsEach(), h.MemoryEach()/1e3)
	var missed []string
	check := func(ok bool, what string) {
		if !ok {
			missed = append(missed, what)
		}
	}
	check(h.Opened == h.Wanted, "not all opened")
	// What the relay opened for all of them together does not count.
	check(int(h.DescriptorsEach()+0.005) <= maxDescriptorsEach, "descriptors")
	check(h.MemoryEach() <= maxMemoryEach, "memory")
	check(h.Survived, "died")
	check(h.Next > 0, "next connection")
	check(h.Descriptors[2] <= h.Descriptors[0], "descriptors not given back")
	if len(missed) == 0 {
		v.word = "met"
	} else {
		v.word = "missed: " + strings.Join(missed, ", ")
	}
	return v
}
