// SPDX-License-Identifier: Apache-2.0

// Package summary sums up what a capture shows of MPTCP: counts and
// distributions over all connections, as text, JSON and an HTML page.
package summary

import (
	"time"

	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
)

// Summary is about all connections that were added.
type Summary struct {
	Capture packet.Stats `json:"capture"`
	Counts  trace.Counts `json:"counts"`

	// Of connections whose SYN asked for MPTCP.
	Outcomes  map[trace.Outcome]uint64 `json:"outcomes"`
	Fallbacks map[trace.Reason]uint64  `json:"fallbacks"`

	// Of those that used MPTCP, from here on, unless something else is said.
	Versions map[uint8]uint64        `json:"versions"`
	Endings  map[trace.Ending]uint64 `json:"endings"`
	FastOpen uint64                  `json:"fast_open"`
	Checksum uint64                  `json:"checksum"`
	Up       Bytes                   `json:"up"`
	Down     Bytes                   `json:"down"`
	// FallbackBytes are those of connections that fell back, both directions.
	FallbackBytes uint64 `json:"fallback_bytes"`
	// Reinjecting are the connections with reinjected bytes.
	Reinjecting uint64 `json:"connections_with_reinjections"`

	// Established is how many connections have had so many subflows.
	Established map[int]uint64 `json:"connections_by_subflows"`
	// Joins are subflows beside first ones, by what became of their SYN.
	Joins map[trace.Opening]uint64 `json:"joins"`
	// JoinsByServer are those that the server opened, Backups those that a side
	// asked not to use while others work, Unused those that never carried data,
	// of established ones.
	JoinsByServer uint64 `json:"joins_by_server"`
	Backups       uint64 `json:"joins_as_backup"`
	Unused        uint64 `json:"joins_unused"`
	// Closes are how subflows ended, first ones included; Resets the reasons that
	// RSTs gave.
	Closes  map[trace.ClosedHow]uint64 `json:"closes"`
	Resets  map[string]uint64          `json:"reset_reasons"`
	Options Options                    `json:"options"`

	Distributions Distributions `json:"distributions"`
}

// Bytes are sums over one direction.
type Bytes struct {
	Bytes         uint64 `json:"bytes"`
	Retransmitted uint64 `json:"retransmitted"`
	Reinjected    uint64 `json:"reinjected"`
	Missing       uint64 `json:"missing,omitempty"`
	Unmapped      uint64 `json:"unmapped,omitempty"`
}

func (b *Bytes) add(d *trace.Data) {
	b.Bytes += d.Bytes
	b.Retransmitted += d.Retransmitted
	b.Reinjected += d.Reinjected
	b.Missing += d.Missing
	b.Unmapped += d.Unmapped
}

// Options count what was signalled, without repetitions.
type Options struct {
	AddAddr    uint64 `json:"add_addr"`
	RemoveAddr uint64 `json:"remove_addr"`
	Prio       uint64 `json:"mp_prio"`
	Fail       uint64 `json:"mp_fail"`
}

// Distributions are over connections that used MPTCP.
type Distributions struct {
	Duration *Distribution `json:"duration_s"`
	Bytes    *Distribution `json:"bytes"` // both directions
	Up       *Distribution `json:"bytes_up"`
	Down     *Distribution `json:"bytes_down"`
	// Handshake is over first subflows.
	Handshake *Distribution `json:"handshake_rtt_ms"`
	// Join is over further subflows that were established.
	Join *Distribution `json:"join_delay_ms"`
	// RTTDifference is the handshake of a further subflow less that of the first.
	RTTDifference *Distribution `json:"rtt_difference_ms"`
	// FirstShare is the percentage of bytes that first subflows carried, over
	// connections with more than one established subflow and with data.
	FirstShare *Distribution `json:"first_subflow_percent"`
	// Reinjected is the percentage of bytes that were reinjected, over the same.
	Reinjected *Distribution `json:"reinjected_percent"`
	// Retransmitted is the percentage of bytes that subflows carried again, over
	// subflows with data.
	Retransmitted *Distribution `json:"retransmitted_percent"`
	// RTT and DataRTT are medians of subflows and of connections, in the
	// direction with more bytes.
	RTT     *Distribution `json:"rtt_ms"`
	DataRTT *Distribution `json:"data_rtt_ms"`
}

// New makes a summary of nothing.
func New() *Summary {
	const micro, milli = 1e-6, 1e-3
	return &Summary{
		Outcomes: map[trace.Outcome]uint64{}, Fallbacks: map[trace.Reason]uint64{}, Versions: map[uint8]uint64{},
		Endings: map[trace.Ending]uint64{}, Established: map[int]uint64{}, Joins: map[trace.Opening]uint64{},
		Closes: map[trace.ClosedHow]uint64{}, Resets: map[string]uint64{},
		Distributions: Distributions{
			Duration: newDistribution(micro), Bytes: newDistribution(1), Up: newDistribution(1), Down: newDistribution(1),
			Handshake: newDistribution(milli), Join: newDistribution(milli), RTTDifference: newDistribution(milli),
			FirstShare: newDistribution(milli), Reinjected: newDistribution(milli), Retransmitted: newDistribution(milli),
			RTT: newDistribution(milli), DataRTT: newDistribution(milli),
		},
	}
}

// Add adds a connection.
func (s *Summary) Add(c *trace.Connection) {
	s.Outcomes[c.Outcome]++
	switch c.Outcome {
	case trace.FellBack:
		s.Fallbacks[c.Fallback]++
		s.FallbackBytes += c.Up.Bytes + c.Down.Bytes
	case trace.Multipath:
		s.addMultipath(c)
	}
}

func (s *Summary) addMultipath(c *trace.Connection) {
	s.Versions[c.Version]++
	s.Endings[c.Ending]++
	if c.FastOpen {
		s.FastOpen++
	}
	if c.Checksum {
		s.Checksum++
	}
	s.Up.add(&c.Up)
	s.Down.add(&c.Down)
	s.Options.AddAddr += uint64(len(c.Announced))
	s.Options.RemoveAddr += uint64(len(c.Removed))
	s.Options.Fail += uint64(c.Fails)

	d := &s.Distributions
	d.Duration.record(time.Duration(c.Duration).Seconds())
	d.Up.record(float64(c.Up.Bytes))
	d.Down.record(float64(c.Down.Bytes))
	d.Bytes.record(float64(c.Up.Bytes + c.Down.Bytes))
	larger := c.Up
	if c.Down.Bytes > c.Up.Bytes {
		larger = c.Down
	}
	if larger.RTT.Samples > 0 {
		d.DataRTT.record(millis(larger.RTT.Median))
	}
	s.addSubflows(c)
}

func (s *Summary) addSubflows(c *trace.Connection) {
	d := &s.Distributions
	established := 0
	var carried, reinjected uint64
	for i := range c.Subflows {
		f := &c.Subflows[i]
		s.Options.Prio += uint64(f.Priorities)
		if i > 0 {
			s.addJoin(c, f)
		}
		if f.Opening != trace.Established {
			continue
		}
		established++
		s.Closes[f.Close.How]++
		if f.Close.Reason != "" {
			s.Resets[f.Close.Reason]++
		}
		carried += f.Bytes()
		reinjected += f.Up.Reinjected + f.Down.Reinjected
		s.addPath(f)
	}
	s.Established[established]++
	if reinjected > 0 {
		s.Reinjecting++
	}
	if established > 1 && carried > 0 {
		d.FirstShare.record(percent(c.Subflows[0].Bytes(), carried))
		d.Reinjected.record(percent(reinjected, carried))
	}
	if h := c.Subflows[0].Handshake; h > 0 {
		d.Handshake.record(millis(h))
	}
}

// addPath adds round trips and retransmissions of a subflow.
func (s *Summary) addPath(f *trace.Subflow) {
	if !f.Used() {
		return
	}
	d := &s.Distributions
	d.Retransmitted.record(percent(f.Up.Retransmitted+f.Down.Retransmitted, f.Bytes()))
	larger := f.Up
	if f.Down.Bytes > f.Up.Bytes {
		larger = f.Down
	}
	if larger.RTT.Samples > 0 {
		d.RTT.record(millis(larger.RTT.Median))
	}
}

// addJoin adds a subflow beside the first.
func (s *Summary) addJoin(c *trace.Connection, f *trace.Subflow) {
	s.Joins[f.Opening]++
	if f.Opening != trace.Established {
		return
	}
	if f.OpenedBy != c.Subflows[0].OpenedBy {
		s.JoinsByServer++
	}
	if f.Backup {
		s.Backups++
	}
	if !f.Used() {
		s.Unused++
	}
	d := &s.Distributions
	d.Join.record(millis(f.Join))
	if first := c.Subflows[0].Handshake; first > 0 && f.Handshake > 0 {
		d.RTTDifference.record(millis(f.Handshake) - millis(first))
	}
}

// End notes what else is known when the capture has ended.
func (s *Summary) End(capture packet.Stats, counts trace.Counts) {
	s.Capture, s.Counts = capture, counts
}

func millis(m trace.Millis) float64 { return figure.Milliseconds(time.Duration(m)) }

func percent(part, whole uint64) float64 { return 100 * float64(part) / float64(whole) }
