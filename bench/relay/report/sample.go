// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// Kind of a scenario, which says what is measured.
type Kind uint8

// The kinds.
const (
	Bulk        Kind = iota // Rate in bit/s, Cost in CPU seconds per GB (1e9 bytes)
	Connections             // Rate in connections/s, Cost in CPU seconds per connection
	Tunnels                 // Held
)

// Scenario is what one table is about.
type Scenario struct {
	Name  string // unique
	Title string
	Kind  Kind
}

// Sample is one repetition of a scenario with one peer.
type Sample struct {
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	Front    string `json:"front"`
	Run      int    `json:"run"` // from 0

	Rate float64       `json:"rate,omitempty"`
	Cost float64       `json:"cost,omitempty"`
	P50  time.Duration `json:"p50_ns,omitempty"` // time to connect, ask and be answered
	P99  time.Duration `json:"p99_ns,omitempty"`
	Held *Held         `json:"held,omitempty"`

	// Failed connections of how many there were besides; one of their errors.
	Failed int    `json:"failed,omitempty"`
	Note   string `json:"note,omitempty"`
	// Error is why there is no result. The peer is left out from then on.
	Error string `json:"error,omitempty"`
}

// Held is what idle tunnels cost a relay.
type Held struct {
	Wanted int `json:"wanted"`
	Opened int `json:"opened"`
	// Memory and Descriptors of the relay before, with the tunnels, and after
	// they have been closed.
	Memory      [3]int64 `json:"memory"`
	Descriptors [3]int   `json:"descriptors"`
	// Next is how long a new connection took beside them; 0 if it failed.
	Next time.Duration `json:"next_ns"`
	// Survived tells that the relay was still there at the end.
	Survived bool `json:"survived"`
}

// MemoryEach is the user memory per tunnel in bytes.
func (h *Held) MemoryEach() float64 {
	if h.Opened == 0 {
		return 0
	}
	return float64(h.Memory[1]-h.Memory[0]) / float64(h.Opened)
}

// DescriptorsEach is the number of descriptors per tunnel.
func (h *Held) DescriptorsEach() float64 {
	if h.Opened == 0 {
		return 0
	}
	return float64(h.Descriptors[1]-h.Descriptors[0]) / float64(h.Opened)
}

// row is what a line of a table is about.
type row struct{ peer, front string }

// Report is everything that was measured.
type Report struct {
	machine   experiment.Machine
	scenarios []Scenario
	rows      []row
	samples   map[string]map[row][]Sample
	sinks     []Sink
	err       error
}

// Sink takes what is measured while it is measured.
type Sink func(v any) error

// JSONLines writes a line of JSON for the machine, and one for each sample.
func JSONLines(w io.Writer) Sink {
	return json.NewEncoder(w).Encode
}

// New returns an empty report.
func New(m experiment.Machine, sinks ...Sink) *Report {
	r := &Report{machine: m, samples: map[string]map[row][]Sample{}, sinks: sinks}
	r.emit(m)
	return r
}

func (r *Report) emit(v any) {
	for _, sink := range r.sinks {
		if err := sink(v); err != nil {
			r.err = errors.Join(r.err, fmt.Errorf("write results: %w", err))
		}
	}
}

// Err is the error of a sink, if there was one.
func (r *Report) Err() error { return r.err }

// Row gives a peer a line in each table, in the order of the calls.
func (r *Report) Row(peer, front string) { r.rows = append(r.rows, row{peer, front}) }

// Begin makes a table for a scenario; the samples that are added later belong
// to scenarios that have begun.
func (r *Report) Begin(s Scenario) {
	r.scenarios = append(r.scenarios, s)
	r.samples[s.Name] = map[row][]Sample{}
}

// Add adds a sample.
func (r *Report) Add(s Sample) {
	r.emit(s)
	key := row{s.Peer, s.Front}
	table := r.samples[s.Scenario]
	table[key] = append(table[key], s)
}
