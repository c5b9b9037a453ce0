// SPDX-License-Identifier: Apache-2.0

// Package experiment is the frame of Tandem's benchmarks. An [Experiment] is a
// question, a set-up, the published values to compare with, and a function that
// measures. The function gets an [Env], which says what to measure and how long,
// and a [Result], to which it gives repetitions, a table, plots and verdicts:
//
//	var Experiments = []experiment.Experiment{{
//		ID: "options-cap", Title: "A subflow with a rate limit",
//		Question: "Does a subflow keep to the rate that a client asks for?",
//		Setup:    "Two paths of 20 Mbit/s and 20 ms; the second capped at 4 Mbit/s.",
//		Published: []experiment.Published{{"fig 6.11", "holds about 4 Mbit/s"}},
//		Metrics:  []experiment.Metric{{Name: "rate", Unit: "Mbit/s", Better: experiment.Higher}},
//		Takes:    time.Minute, Quick: 3 * time.Second,
//		Run:      measureCap,
//	}}
//
//	func measureCap(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
//		err := r.Turns(ctx, e.Rounds(9, 2),
//			experiment.Arm{Name: "plain", Measure: plain},
//			experiment.Arm{Name: "capped", Measure: capped})
//		if err != nil {
//			return err
//		}
//		r.Summary() // the table: medians with confidence intervals
//		c := r.Compare("rate", "plain", "capped")
//		r.Judge(c.Ratio < 0.25, "the cap is kept", "%s", c)
//		return nil
//	}
//
// [Turns] interleaves repetitions (A B A B …), so that a machine that grows
// slower in the course of a benchmark does so for all. [Run] runs experiments
// one after another and writes text for people and lines of JSON: see [Line].
// An experiment that returns an error counts as failed, and says why.
package experiment
