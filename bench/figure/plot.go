// SPDX-License-Identifier: Apache-2.0

// Package figure makes what a benchmark shows of its samples: percentiles with
// confidence intervals, and plots as SVG: lines over time, cumulative
// distributions and bars.
package figure

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of a plot.
const (
	width  = 18 * vg.Centimeter
	height = 9 * vg.Centimeter
	// barRoom is about how wide the part with bars is.
	barRoom = width - 2.5*vg.Centimeter
)

// Colours that are told apart by colour-blind readers too (Okabe and Ito).
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x56, 0xb4, 0xe9, 0xff},
}

var (
	ink   = color.Gray{0x33}
	faint = color.Gray{0xdd}
)

// Axes are the texts of a plot. The unit of an axis belongs into its name.
type Axes struct {
	Title, X, Y string
}

// Series is a named sequence of points.
type Series struct {
	Name string
	X, Y []float64 // of the same length
	// Steps keeps each value until the next one, as for counts.
	Steps bool
}

// Line is a value to compare with.
type Line struct {
	Name  string
	Value float64
}

// Plot is a drawing that can be saved.
type Plot struct {
	plot   *plot.Plot
	next   int
	legend bool // there is something in it
	err    error
}

// Lines draws series over a common axis, which is most often time.
func Lines(a Axes, all ...Series) *Plot {
	p := begin(a)
	p.plot.Y.Min = 0
	for _, s := range all {
		p.line(s)
	}
	return p
}

// Distribution is a named set of samples.
type Distribution struct {
	Name   string
	Values []float64
}

// CDF draws the share of samples that are at most as large as what is on the
// X axis. The Y axis has a name already.
func CDF(a Axes, all ...Distribution) *Plot {
	if a.Y == "" {
		a.Y = "share of samples"
	}
	p := begin(a)
	p.plot.Y.Min, p.plot.Y.Max = 0, 1
	for _, d := range all {
		s := Series{Name: d.Name, Steps: true}
		sorted := slices.Sorted(slices.Values(d.Values))
		for i, v := range sorted {
			if i == 0 {
				s.X, s.Y = append(s.X, v), append(s.Y, 0)
			}
			s.X, s.Y = append(s.X, v), append(s.Y, float64(i+1)/float64(len(sorted)))
		}
		p.line(s)
	}
	return p
}

// Bar is a value with its uncertainty; without one Range is zero.
type Bar struct {
	Name  string
	Value float64
	Range Interval
}

// Bars draws values beside each other.
func Bars(a Axes, bars ...Bar) *Plot {
	p := begin(a)
	p.plot.Y.Min = 0
	values := make(plotter.Values, len(bars))
	names := make([]string, len(bars))
	ranges := whiskers{}
	for i, b := range bars {
		values[i], names[i] = b.Value, b.Name
		if b.Range != (Interval{}) {
			ranges.XYs = append(ranges.XYs, plotter.XY{X: float64(i), Y: b.Value})
			ranges.YErrors = append(ranges.YErrors, struct{ Low, High float64 }{b.Value - b.Range.Low, b.Range.High - b.Value})
		}
	}
	room := barRoom / vg.Length(max(len(bars), 1))
	chart, err := plotter.NewBarChart(values, min(vg.Points(40), 0.9*room))
	if err != nil {
		p.err = err
		return p
	}
	chart.Color, chart.LineStyle.Width = palette[0], 0
	p.plot.Add(chart)
	p.plot.NominalX(names...)
	p.slantX(names, room)
	// Room for the whole of the first and the last bar.
	p.plot.X.Min, p.plot.X.Max = -0.6, float64(len(bars))-0.4
	if len(ranges.XYs) > 0 {
		bars, err := plotter.NewYErrorBars(ranges)
		if err != nil {
			p.err = err
			return p
		}
		bars.LineStyle.Color, bars.LineStyle.Width = ink, vg.Points(1)
		p.plot.Add(bars)
	}
	return p
}

// slantX sets the names below bars aslant if they would run into each other.
func (p *Plot) slantX(names []string, room vg.Length) {
	label := &p.plot.X.Tick.Label
	for _, name := range names {
		// Readers' fonts may be wider than the one that is measured here.
		if 1.1*label.Width(name) > room {
			label.Rotation, label.XAlign, label.YAlign = math.Pi/6, text.XRight, text.YTop
			return
		}
	}
}

type whiskers struct {
	plotter.XYs
	plotter.YErrors
}

// Title is the title of the plot.
func (p *Plot) Title() string { return p.plot.Title.Text }

// LogX makes the X axis logarithmic; its values have to be positive.
func (p *Plot) LogX() *Plot {
	if p.err == nil && p.plot.X.Min <= 0 {
		p.err = errors.New("a logarithmic axis needs positive values")
	}
	p.plot.X.Scale = plot.LogScale{}
	p.plot.X.Tick.Marker = plot.TickerFunc(decades)
	return p
}

// decades are the powers of ten within a range, and its end.
func decades(low, high float64) []plot.Tick {
	var all []plot.Tick
	for v := 1.0; v <= high; v *= 10 {
		if v >= low && v*3 < high {
			all = append(all, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	return append(all, plot.Tick{Value: high, Label: strconv.FormatFloat(high, 'f', -1, 64)})
}

// Limit adds a dashed horizontal line.
func (p *Plot) Limit(l Line) *Plot {
	f := plotter.NewFunction(func(float64) float64 { return l.Value })
	p.plot.Y.Max = max(p.plot.Y.Max, l.Value*1.05)
	p.dash(f, l.Name)
	return p
}

// Places puts names at places of the X axis instead of numbers.
func (p *Plot) Places(places ...Line) *Plot {
	var marks plot.ConstantTicks
	for _, l := range places {
		marks = append(marks, plot.Tick{Value: l.Value, Label: l.Name})
	}
	p.plot.X.Tick.Marker = marks
	return p
}

// LogY makes the Y axis logarithmic, from a value above 0 up.
func (p *Plot) LogY(from float64) *Plot {
	if !(from > 0) {
		p.err = fmt.Errorf("logarithmic axis from %v", from)
		return p
	}
	p.plot.Y.Min, p.plot.Y.Max = from, max(p.plot.Y.Max, 10*from)
	p.plot.Y.Scale, p.plot.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	return p
}

// Mark adds a dashed vertical line.
func (p *Plot) Mark(l Line) *Plot {
	line, err := plotter.NewLine(plotter.XYs{{X: l.Value, Y: p.plot.Y.Min}, {X: l.Value, Y: p.plot.Y.Max}})
	if err != nil {
		p.err = err
		return p
	}
	line.Color, line.Width, line.Dashes = ink, vg.Points(0.8), []vg.Length{vg.Points(3), vg.Points(3)}
	p.plot.Add(line)
	if l.Name != "" {
		p.name(l.Name, line)
	}
	return p
}

func (p *Plot) dash(f *plotter.Function, name string) {
	f.Color, f.Width, f.Dashes = ink, vg.Points(0.8), []vg.Length{vg.Points(3), vg.Points(3)}
	p.plot.Add(f)
	if name != "" {
		p.name(name, f)
	}
}

// name adds what is drawn to the legend.
func (p *Plot) name(name string, drawn plot.Thumbnailer) {
	p.plot.Legend.Add(name, drawn)
	p.legend = true
}

func begin(a Axes) *Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.TextStyle.Color, p.Legend.TextStyle.Color = ink, ink
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = a.Title, a.X, a.Y
	p.Title.Padding = vg.Points(6)
	p.Title.TextStyle.Font.Size = vg.Points(12)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Label.TextStyle.Color, axis.Tick.Label.Color, axis.Tick.Color = ink, ink, ink, ink
		axis.Tick.Marker = plot.TickerFunc(ticks)
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = vg.Points(10), vg.Points(9)
	}
	p.Legend.Top, p.Legend.TextStyle.Font.Size, p.Legend.Padding = true, vg.Points(9), vg.Points(3)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, faint
	p.Add(grid)
	return &Plot{plot: p}
}

func (p *Plot) line(s Series) {
	if len(s.X) != len(s.Y) {
		p.err = fmt.Errorf("series %q has %d places and %d values", s.Name, len(s.X), len(s.Y))
		return
	}
	if len(s.X) == 0 {
		return
	}
	points := make(plotter.XYs, len(s.X))
	for i := range points {
		points[i] = plotter.XY{X: s.X[i], Y: s.Y[i]}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		p.err = fmt.Errorf("series %q: %w", s.Name, err)
		return
	}
	line.Color, line.Width = palette[p.next%len(palette)], vg.Points(1.3)
	if p.next >= len(palette) {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
	}
	p.next++
	if s.Steps {
		line.StepStyle = plotter.PostStep
	}
	p.plot.Add(line)
	if s.Name != "" {
		p.name(s.Name, line)
	}
}

// SVG is the plot as an image. The error is also that of what was drawn before:
// values that are not numbers, or series of unequal length.
func (p *Plot) SVG() ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	canvas := vgsvg.New(width, height)
	p.draw(draw.New(canvas))
	var svg bytes.Buffer
	_, err := canvas.WriteTo(&svg)
	return svg.Bytes(), err
}

// Save writes the plot as SVG into a file, whose directory is made if it is not
// there.
func (p *Plot) Save(file string) error {
	svg, err := p.SVG()
	if err != nil {
		return fmt.Errorf("plot %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, svg, 0o666)
}

// draw draws the plot with its legend to the right, where it covers nothing.
func (p *Plot) draw(c draw.Canvas) {
	legend := p.plot.Legend
	p.plot.Legend = plot.NewLegend()
	defer func() { p.plot.Legend = legend }()
	// Room for lines at the upper end.
	top := p.plot.Y.Max
	p.plot.Y.Max += 0.03 * (top - p.plot.Y.Min)
	defer func() { p.plot.Y.Max = top }()
	// The ground of all is filled once, that of the plot not again.
	ground := p.plot.BackgroundColor
	p.plot.BackgroundColor = nil
	defer func() { p.plot.BackgroundColor = ground }()
	c.SetColor(ground)
	c.Fill(c.Rectangle.Path())
	var room vg.Length
	if p.legend {
		r := legend.Rectangle(c)
		// Readers' fonts may be wider than the one that is measured here.
		room = 1.2*(r.Max.X-r.Min.X) + vg.Points(12)
		legend.Left = true
		legend.Draw(draw.Crop(c, c.Max.X-c.Min.X-room+vg.Points(12), 0, 0, -vg.Points(28)))
	}
	p.plot.Draw(draw.Crop(c, 0, -room, 0, 0))
}

// ticks are those of gonum with numbers as short as they can be: 25, not 25.00.
func ticks(low, high float64) []plot.Tick {
	all := plot.DefaultTicks{}.Ticks(low, high)
	for i := range all {
		if v, err := strconv.ParseFloat(all[i].Label, 64); err == nil {
			all[i].Label = strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
	return all
}
