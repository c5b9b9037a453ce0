// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Milliseconds is a duration in the unit that most figures are in.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Percentile is the value below which p percent of the values lie, p from 0 to
// 100, interpolated between neighbours; NaN if there are no values.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return sortedPercentile(slices.Sorted(slices.Values(values)), p)
}

func sortedPercentile(sorted []float64, p float64) float64 {
	at := min(max(p, 0), 100) / 100 * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// Median is the 50th percentile.
func Median(values []float64) float64 { return Percentile(values, 50) }

// Interval is a range of values.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// resamples of a bootstrap.
const resamples = 2000

// MedianInterval is the confidence interval of the median at a level such as
// 0.95, by the percentile bootstrap (B. Efron, 1979). The same values give the
// same interval.
func MedianInterval(values []float64, level float64) Interval {
	if len(values) == 0 {
		return Interval{math.NaN(), math.NaN()}
	}
	medians := bootstrap(values, rand.New(rand.NewPCG(1, uint64(len(values)))))
	return interval(medians, level)
}

// MedianRatioInterval is the confidence interval of the ratio of the medians of
// two sets of values that do not come in pairs.
func MedianRatioInterval(values, base []float64, level float64) Interval {
	if len(values) == 0 || len(base) == 0 {
		return Interval{math.NaN(), math.NaN()}
	}
	random := rand.New(rand.NewPCG(2, uint64(len(values))))
	ratios, under := bootstrap(values, random), bootstrap(base, random)
	for i := range ratios {
		ratios[i] /= under[i]
	}
	return interval(ratios, level)
}

// bootstrap are medians of values that are drawn from the given ones.
func bootstrap(values []float64, random *rand.Rand) []float64 {
	medians := make([]float64, resamples)
	drawn := make([]float64, len(values))
	for i := range medians {
		for j := range drawn {
			drawn[j] = values[random.IntN(len(values))]
		}
		slices.Sort(drawn)
		medians[i] = sortedPercentile(drawn, 50)
	}
	return medians
}

func interval(samples []float64, level float64) Interval {
	slices.Sort(samples)
	tail := (1 - level) / 2 * 100
	return Interval{sortedPercentile(samples, tail), sortedPercentile(samples, 100-tail)}
}
