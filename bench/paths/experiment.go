// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/tandem-gateway/tandem/bench/figure"
)

// experiment is one figure.
type experiment struct {
	id, title string
	run       func(context.Context, *env, *result) error
}

// experiments in the order in which they run.
var experiments = []experiment{
	{"subflows", "Subflows over time", subflowsOverTime},
	{"refreshing", "A reset subflow is replaced", refreshing},
	{"expiry", "Connections that have lost all their subflows", expiry},
	{"cost", "What following connections costs", cost},
	{"healing", "A transfer while links go and come back", healing},
	{"handover", "The address changes", handOver},
}

// choose returns the experiments with the given ids, or all.
func choose(ids string) ([]experiment, error) {
	if ids == "" {
		return experiments, nil
	}
	wanted := map[string]bool{}
	for id := range strings.SplitSeq(ids, ",") {
		wanted[strings.TrimSpace(id)] = true
	}
	var chosen []experiment
	for _, x := range experiments {
		if wanted[x.id] {
			chosen = append(chosen, x)
			delete(wanted, x.id)
		}
	}
	for id := range wanted {
		return nil, fmt.Errorf("no experiment is named %q", id)
	}
	return chosen, nil
}

// env is what all experiments share.
type env struct {
	tandem   string // program
	self     string // this program
	quick    bool
	dir      string // for plots
	progress io.Writer
	lines    io.Writer // JSON
}

func (e *env) tell(format string, args ...any) { fmt.Fprintf(e.progress, format+"\n", args...) }

// result is what an experiment has found.
type result struct {
	env      *env
	id       string
	title    string
	columns  []string
	rows     [][]string
	verdicts []verdict
	plots    []string
	errs     []error
}

// verdict compares with what was asked.
type verdict struct {
	Asked string `json:"asked"`
	Got   string `json:"got"`
	Met   bool   `json:"met"`
}

func (e *env) begin(x experiment) *result { return &result{env: e, id: x.id, title: x.title} }

// row adds a row to the table.
func (r *result) row(cells ...string) { r.rows = append(r.rows, cells) }

func (r *result) judge(met bool, asked, got string, args ...any) {
	v := verdict{asked, fmt.Sprintf(got, args...), met}
	r.verdicts = append(r.verdicts, v)
	r.record("verdict", v)
}

// record writes a sample as a line of JSON.
func (r *result) record(kind string, value any) {
	line, err := json.Marshal(map[string]any{"experiment": r.id, "kind": kind, "value": value})
	if err == nil {
		_, err = r.env.lines.Write(append(line, '\n'))
	}
	r.errs = append(r.errs, err)
}

// plot saves a plot; name is added to the id of the experiment, if there is one.
func (r *result) plot(name string, p *figure.Plot) {
	file := "paths-" + r.id
	if name != "" {
		file += "-" + name
	}
	file += ".svg"
	r.errs = append(r.errs, p.Save(filepath.Join(r.env.dir, file)))
	r.plots = append(r.plots, file)
}

// write writes table and verdicts.
func (r *result) write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", r.id, r.title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{r.columns}, r.rows...) {
		fmt.Fprintf(t, "  %s\n", strings.Join(row, "\t"))
	}
	t.Flush()
	for _, v := range r.verdicts {
		verb := "missed"
		if v.Met {
			verb = "met"
		}
		fmt.Fprintf(w, "  %s: %s: %s\n", verb, v.Asked, v.Got)
	}
	_, err := fmt.Fprintln(w)
	return errors.Join(append(r.errs, err)...)
}
