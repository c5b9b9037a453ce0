// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"math"

	"github.com/tandem-gateway/tandem/bench/figure"
)

// fewest is how many repetitions a difference is claimed of: of fewer, even if
// all of them point the same way, chance is no rarer than one in sixteen.
const fewest = 5

// Comparison is how values of a metric relate to others.
type Comparison struct {
	Metric Metric
	// Ratio is the first over the second: within a run the median of those of
	// each round, between runs that of the medians. NaN if there are none.
	Ratio float64
	// Interval is its confidence interval.
	Interval figure.Interval
	// N is how many repetitions there were, of the side that has fewer.
	N int
}

// Compare compares a metric of one arm with that of another one, round by
// round.
func (r *Result) Compare(metric, arm, base string) Comparison {
	under := map[int]float64{}
	for _, x := range r.repetitions {
		if v, ok := x.Values[metric]; ok && x.Arm == base {
			under[x.Number] = v
		}
	}
	var ratios []float64
	for _, x := range r.repetitions {
		v, ok := x.Values[metric]
		if u := under[x.Number]; ok && x.Arm == arm && u != 0 {
			ratios = append(ratios, v/u)
		}
	}
	return Comparison{r.metric(metric), figure.Median(ratios), figure.MedianInterval(ratios, Level), len(ratios)}
}

// CompareRuns compares values of a metric that were measured in different runs.
func CompareRuns(m Metric, values, base []float64) Comparison {
	return Comparison{
		m, figure.Median(values) / figure.Median(base),
		figure.MedianRatioInterval(values, base, Level), min(len(values), len(base)),
	}
}

// Noise tells whether the difference may be chance.
func (c Comparison) Noise() bool {
	return c.N < fewest || !(c.Interval.Low > 1 || c.Interval.High < 1)
}

// undefined tells that the values have no ratio, as the base is zero.
func (c Comparison) undefined() bool { return math.IsNaN(c.Ratio) || math.IsInf(c.Ratio, 0) }

// Word says in plain words what the comparison comes to.
func (c Comparison) Word() string {
	switch {
	case c.N == 0:
		return "not measured"
	case c.undefined():
		return "no ratio to zero"
	case c.N < fewest:
		return "too few repetitions to tell"
	case c.Noise():
		return "within noise"
	case c.Metric.Better == "" && c.Ratio > 1:
		return "higher"
	case c.Metric.Better == "":
		return "lower"
	case (c.Metric.Better == Higher) == (c.Ratio > 1):
		return "better"
	default:
		return "worse"
	}
}

// Times is such as "1.46 (1.31–1.60)": how many times the other value it is.
func (c Comparison) Times() string {
	switch {
	case !c.known():
		return c.Word()
	case c.N < fewest:
		return fmt.Sprintf("%.2f", c.Ratio)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", c.Ratio, c.Interval.Low, c.Interval.High)
}

// AtLeast tells whether the ratio is as high as it should be, with a word if
// chance alone may have decided that.
func (c Comparison) AtLeast(bound float64) (met bool, got string) {
	return c.known() && c.Ratio >= bound, c.Times() + c.doubt(bound)
}

// AtMost tells whether the ratio is as low as it should be, likewise.
func (c Comparison) AtMost(bound float64) (met bool, got string) {
	return c.known() && c.Ratio <= bound, c.percent() + c.doubt(bound)
}

// doubt says why it may be chance on which side of a bound the ratio is.
func (c Comparison) doubt(bound float64) string {
	switch {
	case !c.known():
		return ""
	case c.N < fewest:
		return ", too few repetitions to tell"
	case c.Interval.Low < bound && bound < c.Interval.High:
		return ", within noise"
	}
	return ""
}

func (c Comparison) known() bool { return c.N > 0 && !c.undefined() }

// String is such as "+3.1 % (+1.2 to +4.9 %), better".
func (c Comparison) String() string {
	if !c.known() {
		return c.Word()
	}
	return c.percent() + ", " + c.Word()
}

// percent is the difference. Too few repetitions have no interval: it would look
// narrow for want of values.
func (c Comparison) percent() string {
	switch {
	case !c.known():
		return c.Word()
	case c.N < fewest:
		return fmt.Sprintf("%+.1f %%", 100*(c.Ratio-1))
	}
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f %%)", 100*(c.Ratio-1), 100*(c.Interval.Low-1), 100*(c.Interval.High-1))
}
