// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
)

// Env is what an experiment is run with.
type Env struct {
	// Tandem is the program to measure, as an absolute path.
	Tandem string
	// Self is the program that runs the experiments, for [Env.Child].
	Self string
	// Quick asks for the short form, which shows that everything works and
	// little of how well.
	Quick bool
	// Seed of everything that is drawn at random.
	Seed uint64
	// Repeat, if it is not 0, is how often to repeat what is repeated.
	Repeat int
	// Relays are the names of other relays to compare with; empty: all.
	Relays []string
	// Cells are the cells of a grid to measure, by what their names have to
	// match; nil: all.
	Cells *regexp.Regexp

	progress *progress
}

// Relay tells whether to compare with another relay.
func (e *Env) Relay(name string) bool {
	return len(e.Relays) == 0 || slices.Contains(e.Relays, name)
}

// Cell tells whether to measure a cell of a grid.
func (e *Env) Cell(name string) bool { return e.Cells == nil || e.Cells.MatchString(name) }

// Rounds is how often to repeat: full, or quick in the short form, unless Repeat
// says otherwise.
func (e *Env) Rounds(full, quick int) int {
	if e.Repeat > 0 {
		return e.Repeat
	}
	if e.Quick {
		return quick
	}
	return full
}

// Rand is a source of random numbers for a purpose; the same seed and purpose
// give the same numbers.
func (e *Env) Rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(e.Seed, h.Sum64()))
}

// Step tells that done of total parts of the experiment are over, and in a few
// words what the last one found. It moves the progress bar.
func (e *Env) Step(done, total int, format string, args ...any) {
	e.progress.step(done, total, format, args...)
}

// Tell says something on the way without moving the progress bar.
func (e *Env) Tell(format string, args ...any) { e.progress.step(0, 0, format, args...) }
