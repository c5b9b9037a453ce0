// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	values := []float64{40, 10, 30, 20}
	for p, want := range map[float64]float64{0: 10, 50: 25, 100: 40, 75: 32.5, 150: 40} {
		if got := Percentile(values, p); got != want {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
	if !math.IsNaN(Median(nil)) {
		t.Error("median of nothing is a number")
	}
}

func TestMedianInterval(t *testing.T) {
	var values []float64
	for i := range 101 {
		values = append(values, float64(i))
	}
	i := MedianInterval(values, 0.95)
	if i.Low < 30 || i.Low >= 50 || i.High <= 50 || i.High > 70 || i != MedianInterval(values, 0.95) {
		t.Errorf("%+v", i)
	}
	if i := MedianInterval([]float64{3, 3}, 0.95); i != (Interval{3, 3}) {
		t.Errorf("%+v", i)
	}
}

func TestPlots(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "a.svg")
	var many []Bar
	for i := range 12 {
		many = append(many, Bar{Name: "a long name", Value: float64(i)})
	}
	axes := Axes{Title: "Title of it", X: "time in s", Y: "rate"}
	for name, p := range map[string]*Plot{
		"lines": Lines(axes, Series{Name: "first", X: []float64{0, 1}, Y: []float64{1, 2}, Steps: true}).Limit(Line{"limit", 5}).Mark(Line{"mark", 1}),
		"cdf":   CDF(axes, Distribution{"first", []float64{3, 1, 2}}),
		"bars":  Bars(axes, Bar{"first", 2, Interval{1, 3}}, Bar{Name: "second", Value: 1}),
		"many":  Bars(axes, many...),
		"log":   Lines(axes, Series{Name: "first", X: []float64{0, 1}, Y: []float64{1, 200}}).LogY(0.5).Places(Line{"50 %", 0.3}),
	} {
		if err := p.Save(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "<svg") || !strings.Contains(string(text), ">Title of it<") {
			t.Errorf("%s: %v, %.80s", name, err, text)
		}
	}
	if err := Lines(axes).LogY(0).Save(file); err == nil {
		t.Error("a logarithmic axis from 0 is accepted")
	}
	if err := Lines(axes, Series{X: []float64{1}}).Save(file); err == nil {
		t.Error("a series without values is accepted")
	}
	if err := Lines(axes, Series{X: []float64{0, 1}, Y: []float64{math.NaN(), 1}}).Save(file); err == nil {
		t.Error("a value that is not a number is accepted")
	}
}

func TestInline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.svg")
	if err := Lines(Axes{Title: "T", X: "x", Y: "y"}, Series{Name: "s", X: []float64{0, 1}, Y: []float64{1, 2}}).Save(file); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(Inline(svg))
	if !strings.HasPrefix(got, `<svg class="plot" viewBox=`) || strings.Contains(got, "#FFFFFF") || colour.MatchString(got) {
		t.Errorf("%.400s", got)
	}
	for _, want := range []string{"currentColor", "var(--plot-0)", "var(--plot-grid)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if len(dark) != len(palette) || !strings.Contains(Style(), "--plot-5:#") {
		t.Error(Style())
	}
}

func TestMedianRatioInterval(t *testing.T) {
	a, b := []float64{10, 11, 12, 13, 14}, []float64{5, 5.5, 6, 6.5, 7}
	if i := MedianRatioInterval(a, b, 0.95); i.Low > 2 || i.High < 2 || i.Low < 1.2 || i.High > 3 {
		t.Errorf("%+v", i)
	}
	if i := MedianRatioInterval(a, nil, 0.95); !math.IsNaN(i.Low) {
		t.Errorf("%+v", i)
	}
}
