// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-gateway/tandem/plural"
)

// Options say how to run experiments.
type Options struct {
	Env
	// Dir is where the results file and plots go.
	Dir string
	// Commit of the program that is measured; empty: that of this program.
	Commit string
	// Text takes tables and verdicts, Progress what goes on meanwhile; nil:
	// nothing is written.
	Text, Progress io.Writer
	// Terminal tells that Progress is one.
	Terminal bool
}

// ErrFailed tells that experiments have no answer.
var ErrFailed = errors.New("failed")

// Run runs experiments one after another. The error, which wraps [ErrFailed],
// names those that failed; the others have their results all the same.
func Run(ctx context.Context, o Options, chosen []Experiment) (err error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(o.Dir, ResultsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if o.Text == nil {
		o.Text = io.Discard
	}
	about := About{Machine: ThisMachine(ctx), Seed: o.Seed, Quick: o.Quick}
	if o.Commit != "" {
		about.Commit = o.Commit
	}
	lines := &writer{w: f}
	lines.line("", KindRun, about)
	fmt.Fprintf(o.Text, "%s\n\n", about)
	o.progress = &progress{w: o.Progress, terminal: o.Terminal}
	for _, x := range chosen {
		o.progress.ids = append(o.progress.ids, x.ID)
		takes := x.Takes
		if o.Quick {
			takes = x.Quick
		}
		o.progress.expected = append(o.progress.expected, takes)
	}
	var failed []string
	met, asked := 0, 0
	for i := range chosen {
		r := &Result{Env: &o.Env, experiment: &chosen[i], dir: o.Dir, lines: lines}
		o.progress.begin(i)
		err := r.run(ctx)
		o.progress.end()
		r.write(o.Text, err)
		for _, v := range r.verdicts {
			asked++
			if v.Met {
				met++
			}
		}
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", chosen[i].ID, err))
		}
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err().Error())
			break
		}
	}
	fmt.Fprintf(o.Text, "%s, %d failed; %d of %d targets met\n", plural.Of(len(chosen), "experiment"), len(failed), met, asked)
	if len(failed) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(failed, "; "))
	}
	return lines.err
}

// run runs one experiment.
func (r *Result) run(ctx context.Context) error {
	r.Record(KindExperiment, r.experiment)
	start := time.Now()
	err := errors.Join(r.experiment.Run(ctx, r.Env, r), r.end())
	end := End{Seconds: seconds(time.Since(start))}
	if err != nil {
		end.Error = err.Error()
	}
	r.Record(KindEnd, end)
	return err
}

// String describes the run in a line.
func (a About) String() string {
	form := ""
	if a.Quick {
		form = ", short form"
	}
	return fmt.Sprintf("%s, %d × %s, Linux %s, %s, commit %s, seed %d%s",
		a.Time.Format("2006-01-02 15:04"), a.CPUs, a.CPU, a.Kernel, a.Go, a.Commit, a.Seed, form)
}

// write writes what was found for people to read.
func (r *Result) write(w io.Writer, err error) {
	fmt.Fprintf(w, "%s: %s\n", r.experiment.ID, r.experiment.Title)
	for _, table := range r.tables {
		if table.Title != "" {
			fmt.Fprintf(w, "  %s\n", table.Title)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{table.Columns}, table.Rows...) {
			fmt.Fprintf(t, "  %s\n", strings.Join(row, "\t"))
		}
		t.Flush()
	}
	for _, p := range r.experiment.Published {
		fmt.Fprintf(w, "  published: %s: %s\n", p.Source, p.Value)
		if ours := r.ours[p.Source]; ours != "" {
			fmt.Fprintf(w, "       here: %s\n", ours)
		}
	}
	for _, note := range r.notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	for _, v := range r.verdicts {
		verb := "missed"
		if v.Met {
			verb = "met"
		}
		fmt.Fprintf(w, "  %s: %s: %s\n", verb, v.Asked, v.Got)
	}
	if err != nil {
		fmt.Fprintf(w, "  failed: %v\n", err)
	}
	fmt.Fprintln(w)
}
