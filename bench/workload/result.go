// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Dialer opens a connection to the server; ctx bounds the attempt.
type Dialer func(ctx context.Context) (net.Conn, error)

// Workload is the load of an application.
type Workload interface {
	// Run puts the load on a way until it is over or ctx ends. The error is that
	// of a workload which cannot run, or of ctx; what fails on the way is
	// counted in the result.
	Run(ctx context.Context, dial Dialer) (*Result, error)
	// String says in a few words what the load is.
	String() string
}

// Patience is how long a workload waits for what ought to come, unless told
// otherwise.
const Patience = 30 * time.Second

// Result is how a workload fared.
type Result struct {
	// Latency of what was completed; what it measures is said at each workload.
	Latency *Latency `json:"latency"`
	// Done and Failed count what the latency is of: exchanges, messages, pages.
	Done   int `json:"done"`
	Failed int `json:"failed,omitempty"`
	// Error is the first failure.
	Error string `json:"error,omitempty"`
	// Sent and Received count the bytes of completed exchanges.
	Sent     int64 `json:"sent_bytes"`
	Received int64 `json:"received_bytes"`
	// Elapsed is the time from the beginning to the last completion.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Late is the most that the generator itself was behind its times, which is
	// part of the latency in an open loop.
	Late time.Duration `json:"late_ns,omitempty"`
	// Samples are what the latency is of, in the order of their times.
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is one completed exchange.
type Sample struct {
	// At is when it was due, or began, since the beginning of the workload.
	At   time.Duration `json:"at_ns"`
	Took time.Duration `json:"took_ns"`
}

// NewResult is one to merge others into.
func NewResult() *Result { return &Result{Latency: NewLatency()} }

// add counts something completed.
func (r *Result) add(at, took time.Duration, sent, received int64) {
	r.Done++
	r.Latency.Record(took)
	r.Samples = append(r.Samples, Sample{at, took})
	r.Sent += sent
	r.Received += received
	r.Elapsed = max(r.Elapsed, at+took)
}

// fail counts a failure.
func (r *Result) fail(err error) {
	r.Failed++
	if r.Error == "" {
		r.Error = err.Error()
	}
}

// Rate is the goodput in both directions, in bit/s.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Sent+r.Received) * 8 / r.Elapsed.Seconds()
}

// PerSecond is the number of completions per second.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Done) / r.Elapsed.Seconds()
}

// Merge adds what was measured at another time; elapsed times add up.
func (r *Result) Merge(other *Result) {
	r.Latency.Merge(other.Latency)
	r.Done += other.Done
	r.Failed += other.Failed
	if r.Error == "" {
		r.Error = other.Error
	}
	r.Sent += other.Sent
	r.Received += other.Received
	r.Elapsed += other.Elapsed
	r.Late = max(r.Late, other.Late)
	r.Samples = append(r.Samples, other.Samples...)
}

// Range is a range of sizes in bytes, from which they are drawn evenly.
type Range struct{ Min, Max int64 }

// Fixed is a range of one size.
func Fixed(n int64) Range { return Range{n, n} }

// check wants sizes of at least least bytes.
func (g Range) check(what string, least int64) error {
	if g.Min < least || g.Max < g.Min || g.Max > maxBytes {
		return fmt.Errorf("%s of %d to %d bytes is not within %d and %d", what, g.Min, g.Max, least, int64(maxBytes))
	}
	return nil
}

// String is the range in words.
func (g Range) String() string {
	if g.Min == g.Max {
		return fmt.Sprintf("%d B", g.Min)
	}
	return fmt.Sprintf("%d–%d B", g.Min, g.Max)
}

// errNoAnswer is what patience ends with.
var errNoAnswer = errors.New("no answer in time")
