// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-gateway/tandem/bench/figure"
)

// Level of confidence intervals.
const Level = 0.95

// Measured is what one repetition has measured, by name of metric.
type Measured map[string]float64

// Arm is one of the things that an experiment compares.
type Arm struct {
	Name string
	// MayFail is for peers: a failure is told in the table and ends nothing but
	// the arm. Of other arms it is the failure of the experiment.
	MayFail bool
	// Measure is one repetition.
	Measure func(ctx context.Context, round int) (Measured, error)
}

// Turns measures all arms n times in turns, A B C A B C …, every second time in
// reverse order, since whoever comes second may find the machine warmer.
func (r *Result) Turns(ctx context.Context, n int, arms ...Arm) error {
	done, total := 0, n*len(arms)
	for round := range n {
		order := slices.Clone(arms)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, arm := range order {
			done++
			if r.out[arm.Name] != "" {
				continue
			}
			m, err := arm.Measure(ctx, round)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				if !arm.MayFail {
					return fmt.Errorf("%s: %w", arm.Name, err)
				}
				r.Out(arm.Name, err)
				r.Env.Step(done, total, "%s: %v", arm.Name, err)
				continue
			}
			r.Add(arm.Name, round, m)
			r.Env.Step(done, total, "%s: %s", arm.Name, r.tell(m))
		}
	}
	return nil
}

// tell is a measured repetition in a few words.
func (r *Result) tell(measured Measured) string {
	text := ""
	for _, m := range r.experiment.Metrics {
		if v, ok := measured[m.Name]; ok {
			if text != "" {
				text += ", "
			}
			text += m.Name + " " + Number(v) + " " + m.Unit
		}
	}
	return text
}

// Add adds a repetition that was measured without [Result.Turns].
func (r *Result) Add(arm string, round int, m Measured) {
	r.know(arm)
	x := Repetition{Arm: arm, Number: round, Values: m}
	r.repetitions = append(r.repetitions, x)
	r.Record(KindRepetition, x)
}

// Out says why an arm does not take part, or no longer.
func (r *Result) Out(arm string, why error) {
	r.know(arm)
	if r.out == nil {
		r.out = map[string]string{}
	}
	r.out[arm] = why.Error()
	r.Record(KindOut, Out{arm, why.Error()})
}

// Remark says something about an arm that belongs beside its numbers in the
// table that [Result.Summary] makes. What was said before is not said again.
func (r *Result) Remark(arm, format string, args ...any) {
	r.know(arm)
	if r.remarks == nil {
		r.remarks = map[string][]string{}
	}
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(r.remarks[arm], text) {
		r.remarks[arm] = append(r.remarks[arm], text)
	}
}

// WhyOut is why an arm does not take part, or no longer; empty if it does.
func (r *Result) WhyOut(arm string) string { return r.out[arm] }

func (r *Result) know(arm string) {
	if !slices.Contains(r.arms, arm) {
		r.arms = append(r.arms, arm)
	}
}

// Values are the values of a metric that an arm has measured, in order of the
// rounds.
func (r *Result) Values(arm, metric string) []float64 {
	var values []float64
	for _, x := range r.repetitions {
		if v, ok := x.Values[metric]; ok && x.Arm == arm {
			values = append(values, v)
		}
	}
	return values
}

// Summary makes the table: a row for each arm with medians and their
// confidence intervals, why an arm is out, and remarks. What was not measured
// until now has no column.
func (r *Result) Summary() {
	metrics := slices.DeleteFunc(slices.Clone(r.experiment.Metrics), func(m Metric) bool { return !r.measured(m.Name) })
	columns := []string{""}
	for _, m := range metrics {
		columns = append(columns, m.label())
	}
	noted := len(r.out)+len(r.remarks) > 0
	if noted {
		columns = append(columns, "note")
	}
	r.Columns(columns...)
	for _, arm := range r.arms {
		row := []string{arm}
		for _, m := range metrics {
			row = append(row, Spread(r.Values(arm, m.Name)))
		}
		if noted {
			row = append(row, r.notesOn(arm))
		}
		r.Row(row...)
	}
}

// measured tells whether anybody has measured a metric.
func (r *Result) measured(metric string) bool {
	return slices.ContainsFunc(r.repetitions, func(x Repetition) bool { _, is := x.Values[metric]; return is })
}

// notesOn is what is to be said of an arm beside its numbers.
func (r *Result) notesOn(arm string) string {
	var notes []string
	if why := r.out[arm]; why != "" {
		notes = append(notes, why)
	}
	return strings.Join(append(notes, r.remarks[arm]...), "; ")
}

// Bars draws the medians of a metric with their confidence intervals.
func (r *Result) Bars(metric, title string) *figure.Plot {
	var bars []figure.Bar
	for _, arm := range r.arms {
		if values := r.Values(arm, metric); len(values) > 0 {
			b := figure.Bar{Name: arm, Value: figure.Median(values)}
			if len(values) > 1 {
				b.Range = figure.MedianInterval(values, Level)
			}
			bars = append(bars, b)
		}
	}
	m := r.metric(metric)
	return figure.Bars(figure.Axes{Title: title, Y: m.label()}, bars...)
}

// Spread is the median of values with its confidence interval, as text; empty
// if there are none.
func Spread(values []float64) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return Number(values[0])
	}
	i := figure.MedianInterval(values, Level)
	return fmt.Sprintf("%s (%s–%s)", Number(figure.Median(values)), Number(i.Low), Number(i.High))
}

// Number is a number with three significant digits, or all digits before the
// point.
func Number(v float64) string {
	abs := max(v, -v)
	switch {
	case abs >= 100 || abs == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case abs >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
