// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkExport is what one export of metrics costs, with a receiver in the same
// process that does not look at them.
func BenchmarkExport(b *testing.B) {
	c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer c.Close()
	sample := busy()
	m, err := newMetrics(&Options{
		Read: func() *Sample { return sample },
		OTLP: OTLP{Endpoint: c.URL, Interval: time.Hour, Timeout: time.Minute},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	b.ReportAllocs()
	for b.Loop() {
		if err := m.provider.ForceFlush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrace is what a traced connection costs whoever sends it, with a
// receiver likewise, in batches as large as those of a busy gateway.
func BenchmarkTrace(b *testing.B) {
	c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer c.Close()
	t, err := newTraces(&Options{Ratio: 1, OTLP: OTLP{Endpoint: c.URL, Interval: time.Hour, Timeout: time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	defer t.close()
	batch := make([]traced, 100)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = traced{newID(), *record()}
		}
		t.export(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/trace")
}
