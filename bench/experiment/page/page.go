// SPDX-License-Identifier: Apache-2.0

// Package page makes one self-contained HTML page of the results of experiments.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
)

//go:embed page.gohtml
var source string

//go:embed page.css
var style string

// Style is the style sheet of pages, with the colours of inline plots.
func Style() template.CSS { return template.CSS(figure.Style() + "\n" + style) }

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"count": count,
}).Parse(source))

// picture is a plot within the page.
type picture struct {
	Title string
	SVG   template.HTML
}

// section is one experiment.
type section struct {
	*experiment.Outcome
	Pictures []picture
}

// Met is how many targets are met.
func (s section) Met() int {
	n := 0
	for _, v := range s.Verdicts {
		if v.Met {
			n++
		}
	}
	return n
}

// Word is the result in a word, which is also a class of the page.
func (s section) Word() string {
	switch {
	case s.Failed() != "":
		return "failed"
	case s.Met() < len(s.Verdicts):
		return "missed"
	case len(s.Verdicts) > 0:
		return "met"
	default:
		return "measured"
	}
}

// Write writes the page.
func Write(w io.Writer, r *experiment.Results) error {
	var sections []section
	words := map[string]int{}
	for _, o := range r.Outcomes {
		s := section{Outcome: o}
		for _, p := range o.Plots {
			svg, err := os.ReadFile(filepath.Join(r.Dir, filepath.Base(p.File)))
			if err != nil {
				return fmt.Errorf("plot of %s: %w", o.ID, err)
			}
			// Plots are drawn by package figure, which escapes their texts.
			s.Pictures = append(s.Pictures, picture{p.Title, template.HTML(figure.Inline(svg))})
		}
		words[s.Word()]++
		sections = append(sections, s)
	}
	return layout.Execute(w, map[string]any{
		"About": r.About, "Sections": sections, "Words": words,
		"Memory": fmt.Sprintf("%.1f GiB", float64(r.About.Memory)/(1<<30)),
		"Style":  Style(), "Level": int(100 * experiment.Level),
		"Day": r.About.Time.Format("2 January 2006, 15:04"),
	})
}

// WriteFile writes the page of a directory of results into a file.
func WriteFile(file string, r *experiment.Results) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := Write(f, r); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.Close()
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
