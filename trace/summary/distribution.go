// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"encoding/json"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Digits and range of histograms. Values are counted in steps of a resolution.
const (
	digits   = 3
	maxSteps = 1 << 40
)

// Distribution is what is known of many values, to three significant digits, in
// memory that does not grow with their number.
type Distribution struct {
	resolution float64
	above      *hdrhistogram.Histogram // from 0 up
	below      *hdrhistogram.Histogram // of values below 0
	sum        float64
}

// newDistribution makes an empty distribution of values of at least a resolution.
func newDistribution(resolution float64) *Distribution {
	return &Distribution{
		resolution: resolution,
		above:      hdrhistogram.New(1, maxSteps, digits), below: hdrhistogram.New(1, maxSteps, digits),
	}
}

func (d *Distribution) record(v float64) {
	h := d.above
	if v < 0 {
		h = d.below
	}
	// Within the range, it cannot fail.
	_ = h.RecordValue(min(int64(math.Round(math.Abs(v)/d.resolution)), maxSteps))
	d.sum += v
}

// Count is the number of values.
func (d *Distribution) Count() int64 { return d.above.TotalCount() + d.below.TotalCount() }

// Mean is the average value; NaN if there are none.
func (d *Distribution) Mean() float64 { return d.sum / float64(d.Count()) }

// Percentile is the value that p percent do not exceed; p is within 0 and 100.
// NaN if there are none.
func (d *Distribution) Percentile(p float64) float64 {
	n, negative := d.Count(), d.below.TotalCount()
	if n == 0 {
		return math.NaN()
	}
	rank := min(max(int64(math.Ceil(p/100*float64(n))), 1), n)
	if rank <= negative {
		return -d.at(d.below, negative-rank+1)
	}
	return d.at(d.above, rank-negative)
}

// at is the value of a rank from 1 on.
func (d *Distribution) at(h *hdrhistogram.Histogram, rank int64) float64 {
	return float64(h.ValueAtPercentile(100*float64(rank)/float64(h.TotalCount()))) * d.resolution
}

// Values are as many values with the same distribution as a plot can show.
func (d *Distribution) Values() []float64 {
	const most = 400
	n := min(d.Count(), most)
	values := make([]float64, n)
	for i := range values {
		values[i] = d.Percentile((float64(i) + 0.5) / float64(n) * 100)
	}
	return values
}

// MarshalJSON writes count, mean and percentiles.
func (d *Distribution) MarshalJSON() ([]byte, error) {
	if d.Count() == 0 {
		return []byte(`{"count":0}`), nil
	}
	round := func(v float64) float64 { return math.Round(v*1e6) / 1e6 }
	return json.Marshal(struct {
		Count int64   `json:"count"`
		Mean  float64 `json:"mean"`
		Min   float64 `json:"min"`
		P10   float64 `json:"p10"`
		P50   float64 `json:"p50"`
		P90   float64 `json:"p90"`
		P99   float64 `json:"p99"`
		Max   float64 `json:"max"`
	}{
		d.Count(), round(d.Mean()), round(d.Percentile(0)), round(d.Percentile(10)), round(d.Percentile(50)),
		round(d.Percentile(90)), round(d.Percentile(99)), round(d.Percentile(100)),
	})
}
