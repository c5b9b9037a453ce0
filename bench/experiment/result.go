// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tandem-gateway/tandem/bench/figure"
)

// Result is what an experiment has found so far. What is given to it is
// written at once, so that a run that is interrupted leaves what it has.
type Result struct {
	Env        *Env
	experiment *Experiment
	dir        string
	lines      *writer

	table       Table
	tables      []Table
	verdicts    []Verdict
	notes       []string
	ours        map[string]string
	arms        []string // in order of appearance
	repetitions []Repetition
	out         map[string]string
	remarks     map[string][]string
	errs        []error
}

// Columns names the columns of the table.
func (r *Result) Columns(names ...string) { r.table.Columns = names }

// Row adds a row to the table.
func (r *Result) Row(cells ...string) { r.table.Rows = append(r.table.Rows, cells) }

// NextTable ends the table; rows and columns that follow are those of another
// one. An experiment with one table need not call it.
func (r *Result) NextTable(title string) {
	r.endTable()
	r.table.Title = title
}

func (r *Result) endTable() {
	if len(r.table.Rows) > 0 {
		r.lines.line(r.experiment.ID, KindTable, r.table)
		r.tables = append(r.tables, r.table)
	}
	r.table = Table{}
}

// Judge adds a verdict: whether what was asked is met, and what was measured.
func (r *Result) Judge(met bool, asked, got string, args ...any) {
	v := Verdict{asked, fmt.Sprintf(got, args...), met}
	r.verdicts = append(r.verdicts, v)
	r.Record(KindVerdict, v)
}

// Ours says what was measured beside the published value of a source.
func (r *Result) Ours(source, value string, args ...any) {
	if r.ours == nil {
		r.ours = map[string]string{}
	}
	if !slices.ContainsFunc(r.experiment.Published, func(p Published) bool { return p.Source == source }) {
		r.errs = append(r.errs, fmt.Errorf("nothing is published of %q", source))
	}
	r.ours[source] = fmt.Sprintf(value, args...)
	r.Record(KindOurs, Ours{source, r.ours[source]})
}

// Note adds a sentence that a reader of the table needs, such as what a
// difference comes from, or what was left out.
func (r *Result) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.notes = append(r.notes, text)
	r.Record(KindNote, text)
}

// Record writes a sample of a kind of its own as a line of JSON.
func (r *Result) Record(kind string, value any) { r.lines.line(r.experiment.ID, kind, value) }

// Plot saves a plot; name is added to the id of the experiment to make the name
// of the file, if there is one.
func (r *Result) Plot(name string, p *figure.Plot) {
	file := r.experiment.ID
	if name != "" {
		file += "-" + name
	}
	file += ".svg"
	r.errs = append(r.errs, p.Save(filepath.Join(r.dir, file)))
	r.Record(KindPlot, Plot{File: file, Title: p.Title()})
}

// Verdicts are those given so far.
func (r *Result) Verdicts() []Verdict { return r.verdicts }

// end writes what is left.
func (r *Result) end() error {
	r.endTable()
	return errors.Join(append(r.errs, r.lines.err)...)
}

// metric finds a metric of the experiment by its name.
func (r *Result) metric(name string) Metric {
	for _, m := range r.experiment.Metrics {
		if m.Name == name {
			return m
		}
	}
	return Metric{Name: name}
}
