// SPDX-License-Identifier: Apache-2.0

package summary

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/tandem-gateway/tandem/bench/experiment/page"
	"github.com/tandem-gateway/tandem/bench/figure"
)

// Plot is a picture of a distribution.
type Plot struct {
	Name string // of a file, without extension
	*figure.Plot
}

// Plots are pictures of the distributions that have values.
func (s *Summary) Plots() []Plot {
	d := &s.Distributions
	var plots []Plot
	add := func(name, title, x string, log bool, all ...figure.Distribution) {
		var shown []figure.Distribution
		for _, one := range all {
			if log { // which has no place for 0
				one.Values = slices.DeleteFunc(one.Values, func(v float64) bool { return v <= 0 })
			}
			if len(one.Values) > 0 {
				shown = append(shown, one)
			}
		}
		if len(shown) == 0 {
			return
		}
		p := figure.CDF(figure.Axes{Title: title, X: x}, shown...)
		if log {
			p = p.LogX()
		}
		plots = append(plots, Plot{name, p})
	}
	one := func(name string, d *Distribution) figure.Distribution {
		return figure.Distribution{Name: name, Values: d.Values()}
	}
	add("bytes", "Size of connections", "bytes", true, one("up", d.Up), one("down", d.Down))
	add("duration", "Duration of connections", "time in s", false, one("", d.Duration))
	add("join", "From the first SYN of a connection to that of a further subflow", "time in ms", false, one("", d.Join))
	add("rtt", "Round trips", "time in ms", false, one("handshake of first subflows", d.Handshake), one("data of subflows", d.RTT), one("data of connections", d.DataRTT))
	add("difference", "Handshake of further subflows less that of the first", "time in ms", false, one("", d.RTTDifference))
	add("share", "Share of the first subflow, of connections with several", "percent of bytes", false, one("", d.FirstShare))
	add("again", "Bytes that were carried again", "percent", false, one("reinjected, of connections with several subflows", d.Reinjected), one("retransmitted, of subflows", d.Retransmitted))
	if len(s.Established) > 0 {
		var bars []figure.Bar
		for _, n := range slices.Sorted(maps.Keys(s.Established)) {
			bars = append(bars, figure.Bar{Name: strconv.Itoa(n), Value: float64(s.Established[n])})
		}
		plots = append(plots, Plot{"subflows", figure.Bars(figure.Axes{Title: "Subflows of connections", X: "subflows", Y: "connections"}, bars...)})
	}
	return plots
}

//go:embed page.gohtml
var pageText string

var layout = template.Must(template.New("page").Parse(pageText))

type picture struct {
	Title string
	SVG   template.HTML
}

// WritePage writes a page of HTML with everything in it. Name is that of the
// capture.
func (s *Summary) WritePage(w io.Writer, name string) error {
	var pictures []picture
	for _, p := range s.Plots() {
		svg, err := p.SVG()
		if err != nil {
			return fmt.Errorf("plot %s: %w", p.Name, err)
		}
		// Plots are drawn by package figure, which escapes their texts.
		pictures = append(pictures, picture{p.Title(), template.HTML(figure.Inline(svg))})
	}
	err := layout.Execute(w, map[string]any{
		"Name": name, "Style": page.Style(), "Tables": s.Tables(), "Pictures": pictures,
	})
	if err != nil {
		return fmt.Errorf("page of %s: %w", name, err)
	}
	return nil
}
