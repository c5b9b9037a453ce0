// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// The rows that others are compared with.
var (
	directRow = row{"direct", "-"}
	copyRow   = row{"io.Copy", "forward"}
)

// Write writes the whole report as text. about are lines on how it was made.
func (r *Report) Write(w io.Writer, about []string) {
	m := r.machine
	fmt.Fprintf(w, "%s, %d x %s, Linux %s, %s, commit %s\n",
		m.Time.Format(time.DateTime), m.CPUs, m.CPU, m.Kernel, m.Go, m.Commit)
	fmt.Fprintf(w, "Congestion control is %s; on loopback, bbr distorts MPTCP.\n", m.Congestion)
	for _, line := range about {
		fmt.Fprintln(w, line)
	}
	for i := range r.scenarios {
		s := &r.scenarios[i]
		fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.Title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		if s.Kind == Tunnels {
			r.writeTunnels(t, s)
		} else {
			r.writeRates(t, s)
		}
		t.Flush()
	}
	r.writeTargets(w)
}

// writeRates writes the table of a scenario with rates.
func (r *Report) writeRates(t io.Writer, s *Scenario) {
	if s.Kind == Bulk {
		fmt.Fprintln(t, "  peer\tfront\tGbit/s\t(range)\t/direct\t/io.Copy\tCPU s/GB\tnote")
	} else {
		fmt.Fprintln(t, "  peer\tfront\tconn/s\t(range)\t/direct\t/io.Copy\tCPU µs each\tp50 ms\tp99 ms\tnote")
	}
	table := r.samples[s.Name]
	for _, key := range r.rows {
		samples := table[key]
		if len(samples) == 0 {
			continue
		}
		rate := Summarize(rates(samples))
		if rate.N == 0 {
			fmt.Fprintf(t, "  %s\t%s\t-\t\t\t\t\t%s%s\n", key.peer, key.front, tabs(s.Kind), notes(samples))
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\t", key.peer, key.front)
		if s.Kind == Bulk {
			fmt.Fprintf(t, "%.1f\t(%.1f–%.1f)\t", rate.Median/1e9, rate.Low/1e9, rate.High/1e9)
		} else {
			fmt.Fprintf(t, "%.0f\t(%.0f–%.0f)\t", rate.Median, rate.Low, rate.High)
		}
		fmt.Fprintf(t, "%s\t%s\t", ratio(samples, table[directRow]), ratio(samples, table[copyRow]))
		cost := Summarize(each(samples, func(s *Sample) float64 { return s.Cost })).Median
		switch {
		case cost == 0:
			fmt.Fprint(t, "\t")
		case s.Kind == Bulk:
			fmt.Fprintf(t, "%.2f\t", cost)
		default:
			fmt.Fprintf(t, "%.0f\t", cost*1e6)
		}
		if s.Kind == Connections {
			p50 := Summarize(each(samples, func(s *Sample) float64 { return s.P50.Seconds() }))
			p99 := Summarize(each(samples, func(s *Sample) float64 { return s.P99.Seconds() }))
			fmt.Fprintf(t, "%.1f\t%.1f\t", p50.Median*1e3, p99.Median*1e3)
		}
		fmt.Fprintln(t, notes(samples))
	}
}

// tabs fills the columns that only connections have.
func tabs(k Kind) string {
	if k == Connections {
		return "\t\t"
	}
	return ""
}

// ratio is the text of a ratio, empty if there is none.
func ratio(a, b []Sample) string {
	s := Ratio(a, b)
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", s.Median)
}

// writeTunnels writes the table of a scenario with idle tunnels.
func (r *Report) writeTunnels(t io.Writer, s *Scenario) {
	fmt.Fprintln(t, "  peer\tfront\ttunnels\tdescriptors each\tuser kB each\tall MB\tnext conn. ms\tleft: descriptors, MB\tnote")
	for _, key := range r.rows {
		for _, sample := range r.samples[s.Name][key] {
			fmt.Fprintf(t, "  %s\t%s\t", key.peer, key.front)
			h := sample.Held
			if h == nil {
				fmt.Fprintf(t, "-\t\t\t\t\t\t%s\n", notes([]Sample{sample}))
				continue
			}
			if !h.Survived {
				fmt.Fprintf(t, "%d\t\t\t\t\t\t%s\n", h.Opened, notes([]Sample{sample}))
				continue
			}
			next := "failed"
			if h.Next > 0 {
				next = fmt.Sprintf("%.1f", h.Next.Seconds()*1e3)
			}
			fmt.Fprintf(t, "%d\t%.2f\t%.2f\t%.1f\t%s\t%+d, %+.1f\t%s\n", h.Opened, h.DescriptorsEach(), h.MemoryEach()/1e3,
				float64(h.Memory[1])/1e6, next, h.Descriptors[2]-h.Descriptors[0], float64(h.Memory[2]-h.Memory[0])/1e6, notes([]Sample{sample}))
		}
	}
}

// notes are what is to be said of samples besides their numbers, once each.
func notes(samples []Sample) string {
	var said []string
	say := func(text string) {
		for _, s := range said {
			if s == text {
				return
			}
		}
		if text != "" {
			said = append(said, text)
		}
	}
	failed := 0
	for i := range samples {
		say(samples[i].Error)
		say(samples[i].Note)
		failed += samples[i].Failed
	}
	if failed > 0 {
		said = append(said, fmt.Sprintf("%d connections failed", failed))
	}
	return strings.Join(said, "; ")
}
