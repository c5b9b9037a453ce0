// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
)

// Workload is a kind of load.
type Workload string

// The workloads.
const (
	// BulkUp sends on Streams connections for Duration, ends the streams, and
	// waits for the source to confirm the number of bytes.
	BulkUp Workload = "bulk-up"
	// BulkDown receives on Streams connections for Duration.
	BulkDown Workload = "bulk-down"
	// Connections opens Streams connections at a time for Duration; on each a
	// request of ExchangeSize bytes is answered by as many, then the client
	// closes it.
	Connections Workload = "connections"
	// Arrivals are such connections in an open loop: they begin at times of a
	// Poisson process of the rate PerSecond for Duration, whether or not
	// earlier ones have been answered.
	Arrivals Workload = "arrivals"
	// Tunnels opens Streams connections, has one exchange on each, and keeps
	// them idle.
	Tunnels Workload = "tunnels"
)

// ExchangeSize is the size of a request, and of the answer to it, in bytes.
const ExchangeSize = 1 << 10

// Job is what a client is to do.
type Job struct {
	Workload Workload
	// Via is what the client connects to: a relay, or the source itself.
	Via netip.AddrPort
	// Beside are further relays. Connections go through Via and them in turn,
	// Streams at a time altogether; bulk does not.
	Beside []netip.AddrPort
	// Target, if valid, is asked for with SOCKS5.
	Target netip.AddrPort
	// MPTCP makes the client's connections MPTCP ones. The job fails if that is
	// not negotiated.
	MPTCP   bool
	Streams int
	// Duration of the load. Bulk streams are under way for WarmUp before it,
	// which does not count: until their windows have grown, MPTCP streams
	// stall now and then for lack of a DATA_ACK.
	Duration time.Duration
	WarmUp   time.Duration
	// PerSecond is the rate of Arrivals, and Seed that of their times.
	PerSecond float64
	Seed      uint64
	// Patience bounds the wait for anything that ought to be immediate.
	Patience time.Duration
}

// Result is how a job went.
type Result struct {
	// Bytes carried, and connections completed, in Elapsed.
	Bytes       int64         `json:",omitempty"`
	Connections int           `json:",omitempty"`
	Elapsed     time.Duration `json:",omitempty"`
	// Each are those of the connections that went through Via, and those through
	// each of Beside.
	Each []int `json:",omitempty"`
	// Total bytes, those during the warm-up included.
	Total int64 `json:",omitempty"`
	// Latency is the time to the last byte of the answer from connect, and of
	// Arrivals from when they were due. Those that failed are not in it.
	Latency *workload.Latency `json:",omitempty"`
	// Late is the most that Arrivals were begun after they were due.
	Late time.Duration `json:",omitempty"`
	// Failed connections, and the error of the first of them.
	Failed int    `json:",omitempty"`
	Error  string `json:",omitempty"`
	// Unconfirmed is how many streams ended without the source's
	// confirmation: the relay does not keep connections half-closed.
	Unconfirmed int `json:",omitempty"`
	// NotMPTCP says that MPTCP was asked for and not negotiated.
	NotMPTCP bool `json:",omitempty"`
}

// fail notes an error; the first one is kept.
func (r *Result) fail(err error) {
	r.Failed++
	if r.Error == "" {
		r.Error = err.Error()
	}
	if errors.Is(err, mptcp.ErrNotNegotiated) {
		r.NotMPTCP = true
	}
}

// BitsPerSecond is the rate of a bulk job.
func (r *Result) BitsPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Bytes) * 8 / r.Elapsed.Seconds()
}

// PerSecond is the rate of new connections.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Connections) / r.Elapsed.Seconds()
}

// mode of the client's sockets.
func (j *Job) mode() mptcp.Mode {
	if j.MPTCP {
		return mptcp.ModeRequire
	}
	return mptcp.ModeOff
}

// check asks the kernel whether a connection is MPTCP if it should be.
func (j *Job) check(fd int) error {
	if !j.MPTCP {
		return nil
	}
	status, err := mptcp.Negotiated(fd)
	if err != nil {
		return err
	}
	if !status.MPTCP {
		return fmt.Errorf("%w: %s", mptcp.ErrNotNegotiated, status.Reason)
	}
	return nil
}
