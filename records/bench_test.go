// SPDX-License-Identifier: Apache-2.0

package records

import (
	"path/filepath"
	"testing"
)

// BenchmarkKeep is what an event loop pays for a record.
func BenchmarkKeep(b *testing.B) {
	k, err := NewKeeper(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	e := example()
	b.ReportAllocs()
	for b.Loop() {
		k.Keep(&e.record, "")
	}
}

// BenchmarkFile is what the writer pays for one.
func BenchmarkFile(b *testing.B) {
	f, err := openFile(FileOptions{Path: filepath.Join(b.TempDir(), "flows.json"), MaxSize: 100e6, Keep: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	batch := make([]entry, 100)
	for i := range batch {
		batch[i] = example()
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.write(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/record")
}

// BenchmarkLine is what of that is spent on making the line.
func BenchmarkLine(b *testing.B) {
	var l lineEncoder
	e := example()
	b.ReportAllocs()
	for b.Loop() {
		lineBuffer = l.append(lineBuffer[:0], &e)
	}
}
