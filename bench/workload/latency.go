// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is an HDR histogram of durations from 1 µs to 10 minutes, to three
// significant digits. What is outside counts as the nearer end.
type Latency struct{ h *hdrhistogram.Histogram }

const (
	shortest = time.Microsecond
	longest  = 10 * time.Minute
	digits   = 3
)

// NewLatency makes an empty histogram.
func NewLatency() *Latency {
	return &Latency{hdrhistogram.New(shortest.Microseconds(), longest.Microseconds(), digits)}
}

// Record adds a duration.
func (l *Latency) Record(d time.Duration) {
	// Within the range, it cannot fail.
	_ = l.h.RecordValue(min(max(d, shortest), longest).Microseconds())
}

// Merge adds what is in another histogram.
func (l *Latency) Merge(other *Latency) { l.h.Merge(other.h) }

// Count is the number of durations.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// Percentile is the duration that p percent do not exceed; p is within 0 and
// 100. Zero if there are none.
func (l *Latency) Percentile(p float64) time.Duration {
	return time.Duration(l.h.ValueAtPercentile(p)) * time.Microsecond
}

// Max is the longest duration.
func (l *Latency) Max() time.Duration { return time.Duration(l.h.Max()) * time.Microsecond }

// Mean is the average duration.
func (l *Latency) Mean() time.Duration {
	return time.Duration(l.h.Mean() * float64(time.Microsecond))
}

// Milliseconds are the durations in milliseconds, in order, as many as there
// are, at the histogram's resolution: for a distribution.
func (l *Latency) Milliseconds() []float64 {
	var values []float64
	for _, bar := range l.h.Distribution() {
		for range bar.Count {
			values = append(values, float64(bar.To)/1000)
		}
	}
	return values
}

// latencyJSON is what a histogram is in JSON. Times are in milliseconds.
type latencyJSON struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	// HDR is the histogram of microseconds, in the compressed encoding (V2) of
	// HdrHistogram and base64.
	HDR string `json:"hdr"`
}

// MarshalJSON writes percentiles and the whole histogram.
func (l *Latency) MarshalJSON() ([]byte, error) {
	encoded, err := l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(latencyJSON{
		l.Count(), millis(l.Mean()), millis(l.Percentile(50)), millis(l.Percentile(95)), millis(l.Percentile(99)), millis(l.Max()), string(encoded),
	})
}

// UnmarshalJSON reads the histogram; the percentiles follow from it.
func (l *Latency) UnmarshalJSON(text []byte) error {
	var j latencyJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	h, err := hdrhistogram.Decode([]byte(j.HDR))
	if err != nil {
		return err
	}
	l.h = h
	return nil
}

// millis is a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
