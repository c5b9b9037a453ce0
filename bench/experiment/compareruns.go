// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// ErrNothingInCommon tells that two runs have no experiment in common.
var ErrNothingInCommon = errors.New("these runs have no experiment in common")

// WriteComparison writes what has changed from one run to another: the median
// of each metric of each arm with a word on the difference, and verdicts that
// are other ones now.
func WriteComparison(w io.Writer, before, now *Results) error {
	fmt.Fprintf(w, "old: %s\nnew: %s\n", before.About, now.About)
	if a, b := before.About, now.About; a.CPU != b.CPU || a.CPUs != b.CPUs || a.Kernel != b.Kernel || a.Quick != b.Quick {
		fmt.Fprintln(w, "These are other conditions: differences need not come from the program.")
	}
	words := map[string]int{}
	common := 0
	for _, x := range now.Outcomes {
		i := slices.IndexFunc(before.Outcomes, func(o *Outcome) bool { return o.ID == x.ID })
		if i < 0 {
			fmt.Fprintf(w, "\n%s: %s: only new\n", x.ID, x.Title)
			continue
		}
		common++
		fmt.Fprintf(w, "\n%s: %s\n", x.ID, x.Title)
		writeChanges(w, before.Outcomes[i], x, words)
	}
	if common == 0 {
		return ErrNothingInCommon
	}
	fmt.Fprintln(w)
	for _, word := range []string{"better", "worse", "higher", "lower", "within noise", "too few repetitions to tell", "no ratio to zero", "not measured"} {
		if words[word] > 0 {
			fmt.Fprintf(w, "%d %s\n", words[word], word)
		}
	}
	return nil
}

// writeChanges writes those of one experiment.
func writeChanges(w io.Writer, before, now *Outcome, words map[string]int) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, arm := range now.arms() {
		for _, m := range now.Metrics {
			a, b := before.Values(arm, m.Name), now.Values(arm, m.Name)
			if len(b) == 0 {
				continue
			}
			c := CompareRuns(m, b, a)
			words[c.Word()]++
			fmt.Fprintf(t, "  %s\t%s\t%s → %s\t%s\n", arm, m.label(), Spread(a), Spread(b), c)
		}
	}
	t.Flush()
	for _, arm := range before.arms() {
		if !slices.Contains(now.arms(), arm) {
			fmt.Fprintf(w, "  %s: not measured now\n", arm)
		}
	}
	if len(now.Repetitions) == 0 {
		fmt.Fprintln(w, "  measured once: only verdicts can be compared")
	}
	writeVerdicts(w, before, now)
	if a, b := before.Failed(), now.Failed(); a != b {
		fmt.Fprintf(w, "  failed: %q, was %q\n", b, a)
	}
}

// writeVerdicts writes verdicts that are other ones now. Of those that ask the
// same, the first is compared with the first, and so on.
func writeVerdicts(w io.Writer, before, now *Outcome) {
	was := map[string][]Verdict{}
	for _, v := range before.Verdicts {
		was[v.Asked] = append(was[v.Asked], v)
	}
	verb := map[bool]string{true: "met", false: "missed"}
	for _, v := range now.Verdicts {
		rest := was[v.Asked]
		if len(rest) == 0 {
			continue
		}
		old := rest[0]
		was[v.Asked] = rest[1:]
		if old.Met != v.Met {
			fmt.Fprintf(w, "  %s now, was %s: %s: %s, was %s\n", verb[v.Met], verb[old.Met], v.Asked, v.Got, old.Got)
		}
	}
}

// arms are the names of all that have a repetition, in order of appearance.
func (o *Outcome) arms() []string {
	var names []string
	for _, x := range o.Repetitions {
		if !slices.Contains(names, x.Arm) {
			names = append(names, x.Arm)
		}
	}
	return names
}
