// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Outcome is an experiment with all that it has found, as a results file tells.
type Outcome struct {
	Experiment
	Repetitions []Repetition
	Out         []Out
	Tables      []Table
	Verdicts    []Verdict
	Plots       []Plot
	// Ours are values beside published ones, by source.
	Ours  map[string]string
	Notes []string
	// End is nil if the experiment was interrupted.
	End *End
}

// Results are those of a run.
type Results struct {
	Dir   string // of plots
	About About
	// Outcomes in the order in which they were measured.
	Outcomes []*Outcome
}

// longest line of a results file in bytes.
const longest = 64 << 20

// ReadResults reads a results file, or the one in a directory.
func ReadResults(path string) (*Results, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, ResultsFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := parseResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Dir = filepath.Dir(path)
	return r, nil
}

func parseResults(from io.Reader) (*Results, error) {
	r := &Results{}
	byID := map[string]*Outcome{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longest)
	for n := 1; lines.Scan(); n++ {
		var line Line
		err := json.Unmarshal(lines.Bytes(), &line)
		switch {
		case err != nil:
		case line.Kind == KindRun:
			err = json.Unmarshal(line.Value, &r.About)
		case line.Kind == KindExperiment:
			o := &Outcome{}
			if err = json.Unmarshal(line.Value, &o.Experiment); err == nil {
				byID[line.Experiment] = o
				r.Outcomes = append(r.Outcomes, o)
			}
		case byID[line.Experiment] == nil:
			err = fmt.Errorf("no experiment %q has begun", line.Experiment)
		default:
			err = byID[line.Experiment].add(&line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return r, lines.Err()
}

// add adds what a line tells; samples of an experiment's own kinds are left out.
func (o *Outcome) add(line *Line) error {
	switch line.Kind {
	case KindRepetition:
		return appendTo(&o.Repetitions, line)
	case KindOut:
		return appendTo(&o.Out, line)
	case KindTable:
		return appendTo(&o.Tables, line)
	case KindVerdict:
		return appendTo(&o.Verdicts, line)
	case KindOurs:
		var ours Ours
		err := json.Unmarshal(line.Value, &ours)
		if o.Ours == nil {
			o.Ours = map[string]string{}
		}
		o.Ours[ours.Source] = ours.Value
		return err
	case KindPlot:
		return appendTo(&o.Plots, line)
	case KindNote:
		return appendTo(&o.Notes, line)
	case KindEnd:
		return json.Unmarshal(line.Value, &o.End)
	}
	return nil
}

func appendTo[T any](to *[]T, line *Line) error {
	var v T
	if err := json.Unmarshal(line.Value, &v); err != nil {
		return err
	}
	*to = append(*to, v)
	return nil
}

// Values are what an arm has measured of a metric, in order of the rounds.
func (o *Outcome) Values(arm, metric string) []float64 {
	var values []float64
	for _, x := range o.Repetitions {
		if v, ok := x.Values[metric]; ok && x.Arm == arm {
			values = append(values, v)
		}
	}
	return values
}

// Failed is why there is no answer; empty if there is one.
func (o *Outcome) Failed() string {
	if o.End == nil {
		return "interrupted"
	}
	return o.End.Error
}
