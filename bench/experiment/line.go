// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// ResultsFile is the name of the file with all lines in a directory of results.
const ResultsFile = "results.jsonl"

// Line is one line of a results file. The first one is of kind "run"; those of
// an experiment begin with "experiment" and end with "end".
type Line struct {
	Experiment string `json:"experiment,omitempty"` // id
	// Kind says what the value is: one of the Kinds, or what an experiment
	// calls samples of its own.
	Kind  string          `json:"kind"`
	Value json.RawMessage `json:"value"`
}

// The kinds of lines that every experiment has, with the type of their value.
const (
	KindRun        = "run"        // About
	KindExperiment = "experiment" // Experiment
	KindRepetition = "repetition" // Repetition
	KindOut        = "out"        // Out
	KindTable      = "table"      // Table
	KindVerdict    = "verdict"    // Verdict
	KindOurs       = "ours"       // Ours
	KindPlot       = "plot"       // Plot
	KindNote       = "note"       // string
	KindEnd        = "end"        // End
)

// About describes a run of experiments.
type About struct {
	Machine
	Seed  uint64 `json:"seed"`
	Quick bool   `json:"quick"`
}

// Repetition is what one arm of an experiment has measured once.
type Repetition struct {
	Arm    string             `json:"arm"`
	Number int                `json:"number"` // from 0
	Values map[string]float64 `json:"values"` // by name of metric
}

// Out is why an arm does not take part, or no longer.
type Out struct {
	Arm string `json:"arm"`
	Why string `json:"why"`
}

// Table is what an experiment has found, for people.
type Table struct {
	Title   string     `json:"title,omitempty"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Verdict compares with what was asked.
type Verdict struct {
	Asked string `json:"asked"`
	Got   string `json:"got"`
	Met   bool   `json:"met"`
}

// Ours is what was measured beside a published value.
type Ours struct {
	Source string `json:"source"` // that of the published value
	Value  string `json:"value"`
}

// Plot is a picture.
type Plot struct {
	File  string `json:"file"` // beside the results file
	Title string `json:"title"`
}

// End is how an experiment ended.
type End struct {
	Seconds float64 `json:"seconds"`
	// Error is why there is no answer; empty if there is one.
	Error string `json:"error,omitempty"`
}

// writer writes lines.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) line(id, kind string, value any) {
	text, err := json.Marshal(value)
	if err == nil {
		text, err = json.Marshal(Line{Experiment: id, Kind: kind, Value: text})
	}
	if err == nil {
		_, err = w.w.Write(append(text, '\n'))
	}
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write results: %w", err)
	}
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
