// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Experiment answers one question by measuring.
type Experiment struct {
	// ID is unique: words of lower-case letters and digits joined by hyphens,
	// the first of which is the group that it belongs to.
	ID    string `json:"id"`
	Title string `json:"title"`
	// Question is what it finds out, in a sentence for people who do not know
	// the program.
	Question string `json:"question"`
	// Setup says what runs where: hosts, links with rate and delay, congestion
	// control, what is sent.
	Setup string `json:"setup"`
	// Drawing is the topology as lines of text; empty: none.
	Drawing string `json:"drawing,omitempty"`
	// Published are the values to compare with, most often those of the thesis.
	Published []Published `json:"published,omitempty"`
	// Metrics are what a repetition measures; empty for an experiment without
	// repetitions.
	Metrics []Metric `json:"metrics,omitempty"`
	// Takes and Quick are about how long it runs on two cores, in full and in
	// its short form.
	Takes time.Duration `json:"takes_ns"`
	Quick time.Duration `json:"quick_ns"`
	// Run measures. An error means that there is no answer; a target that is
	// missed is a verdict, not an error.
	Run func(context.Context, *Env, *Result) error `json:"-"`
}

// Published is a value that others have published. [Result.Ours] puts beside it
// what was measured here.
type Published struct {
	Source string `json:"source"` // unique, such as "thesis, fig 6.11"
	Value  string `json:"value"`
}

// Metric is what is measured in each repetition.
type Metric struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit,omitempty"`
	Better Direction `json:"better,omitempty"`
}

// Direction tells which of two values is better.
type Direction string

// The directions. The zero value is neither.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
)

// label is the metric with its unit.
func (m *Metric) label() string {
	if m.Unit == "" {
		return m.Name
	}
	return m.Name + ", " + m.Unit
}

// Choose returns the experiments that names stand for, in the order of all: a
// name is an ID or the beginning of some up to a hyphen. Without names it
// returns all.
func Choose(all []Experiment, names []string) ([]Experiment, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Experiment
	used := map[string]bool{}
	for _, x := range all {
		wanted := false
		for _, name := range names {
			if x.ID == name || strings.HasPrefix(x.ID, name+"-") {
				wanted, used[name] = true, true
			}
		}
		if wanted {
			chosen = append(chosen, x)
		}
	}
	for _, name := range names {
		if !used[name] {
			return nil, fmt.Errorf("no experiment is named %q", name)
		}
	}
	return chosen, nil
}
