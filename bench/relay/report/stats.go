// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"slices"
)

// Summary is what is said of repeated measurements.
type Summary struct {
	Median, Low, High float64
	N                 int
}

// Summarize finds the median and the range of values. Of none, all is zero.
func Summarize(values []float64) Summary {
	n := len(values)
	if n == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	median := sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return Summary{Median: median, Low: sorted[0], High: sorted[n-1], N: n}
}

// ok tells whether a sample has a rate.
func (s *Sample) ok() bool { return s.Error == "" && s.Rate > 0 }

// rates are the rates of all samples that have one.
func rates(samples []Sample) []float64 {
	return each(samples, func(s *Sample) float64 { return s.Rate })
}

// each applies f to all samples that have a rate.
func each(samples []Sample, f func(*Sample) float64) []float64 {
	var values []float64
	for i := range samples {
		if samples[i].ok() {
			values = append(values, f(&samples[i]))
		}
	}
	return values
}

// Ratio summarizes a.Rate / b.Rate over the runs that both have.
func Ratio(a, b []Sample) Summary {
	base := map[int]float64{}
	for i := range b {
		if b[i].ok() {
			base[b[i].Run] = b[i].Rate
		}
	}
	var ratios []float64
	for i := range a {
		if rate := base[a[i].Run]; a[i].ok() && rate > 0 {
			ratios = append(ratios, a[i].Rate/rate)
		}
	}
	return Summarize(ratios)
}

// best returns the samples with the highest median rate of several sets, and
// their index; -1 if there are none.
func best(sets [][]Sample) (int, []Sample) {
	index, rate := -1, math.Inf(-1)
	for i, set := range sets {
		if s := Summarize(rates(set)); s.N > 0 && s.Median > rate {
			index, rate = i, s.Median
		}
	}
	if index < 0 {
		return -1, nil
	}
	return index, sets[index]
}
