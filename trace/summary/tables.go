// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/plural"
	"github.com/tandem-gateway/tandem/trace"
)

// Tables are the summary for people.
func (s *Summary) Tables() []experiment.Table {
	return []experiment.Table{s.dataset(), s.connections(), s.subflows(), s.distributions()}
}

// dataset is what was captured.
func (s *Summary) dataset() experiment.Table {
	t := experiment.Table{Title: "Capture", Columns: []string{"what", "number", "note"}}
	row := func(what string, n uint64, note string) {
		t.Rows = append(t.Rows, []string{what, plural.Digits(n), note})
	}
	c := &s.Capture
	during := "from " + c.First.UTC().Format(time.RFC3339) + ", " + experiment.Number(c.Last.Sub(c.First).Seconds()) + " s"
	if c.Packets == 0 {
		during = ""
	}
	row("packets", c.Packets, during)
	row("bytes on the wire", c.Bytes, "")
	row("TCP segments", c.Segments, "")
	row("TCP connections that did not ask for MPTCP", s.Counts.TCP, "with "+plural.Digits(s.Counts.TCPBytes)+" bytes")
	row("connections that asked for MPTCP", s.Counts.MPTCP, "")
	row("connections whose SYN is not in the capture", s.Counts.Headless, plural.Digits(s.Counts.HeadlessMPTCP)+" of them with MPTCP")
	row("subflows whose connection is not in the capture", s.Counts.Strays, "")
	for _, x := range []struct {
		what string
		n    uint64
	}{
		{"segments whose options were not captured whole", c.OptionsCut},
		{"packets of link types that cannot be read", c.Unread},
		{"MPTCP options that are not well-formed", s.Counts.Malformed},
		{"RSTs that receivers do not believe", s.Counts.Doubted},
		{"connections given up, there being too many", s.Counts.Evicted},
	} {
		if x.n > 0 {
			row(x.what, x.n, "")
		}
	}
	if c.Truncated {
		t.Rows = append(t.Rows, []string{"the capture ends within a packet", "", ""})
	}
	return t
}

// connections is what became of those that asked for MPTCP.
func (s *Summary) connections() experiment.Table {
	t := experiment.Table{Title: "Connections that asked for MPTCP", Columns: []string{"what", "number", "share", "note"}}
	asked, n := s.Counts.MPTCP, s.Outcomes[trace.Multipath]
	t.Rows = append(t.Rows,
		counted("MPTCP", n, asked, list(s.Versions, func(v uint8) string { return "version " + strconv.Itoa(int(v)) })),
		counted("fell back to TCP", s.Outcomes[trace.FellBack], asked, list(s.Fallbacks, text)))
	for _, o := range []trace.Outcome{trace.Refused, trace.Unanswered, trace.Aborted, trace.Incomplete} {
		t.Rows = append(t.Rows, counted(string(o), s.Outcomes[o], asked, ""))
	}
	t.Rows = append(t.Rows,
		counted("of MPTCP: Fast Open", s.FastOpen, n, ""),
		counted("of MPTCP: checksums", s.Checksum, n, ""),
		counted("of MPTCP: with reinjections", s.Reinjecting, n, ""),
		[]string{"of MPTCP: ended", "", "", list(s.Endings, text)})
	for _, d := range []struct {
		name string
		b    Bytes
	}{{"up", s.Up}, {"down", s.Down}} {
		note := fmt.Sprintf("and %s retransmitted, %s reinjected", plural.Digits(d.b.Retransmitted), plural.Digits(d.b.Reinjected))
		if d.b.Missing+d.b.Unmapped > 0 {
			note += fmt.Sprintf("; %s not captured, %s without mapping", plural.Digits(d.b.Missing), plural.Digits(d.b.Unmapped))
		}
		t.Rows = append(t.Rows, []string{"of MPTCP: bytes " + d.name, plural.Digits(d.b.Bytes), "", note})
	}
	t.Rows = append(t.Rows, []string{"of fallbacks: bytes", plural.Digits(s.FallbackBytes), "", ""})
	return t
}

// subflows are those of connections that used MPTCP.
func (s *Summary) subflows() experiment.Table {
	t := experiment.Table{Title: "Subflows of MPTCP connections", Columns: []string{"what", "number", "share", "note"}}
	n := s.Outcomes[trace.Multipath]
	for _, k := range slices.Sorted(maps.Keys(s.Established)) {
		t.Rows = append(t.Rows, counted("connections with "+strconv.Itoa(k), s.Established[k], n, ""))
	}
	var asked uint64
	for _, k := range s.Joins {
		asked += k
	}
	joined := s.Joins[trace.Established]
	t.Rows = append(t.Rows,
		counted("asked for with MP_JOIN", asked, asked, list(s.Joins, text)),
		counted("of joined: opened by the server", s.JoinsByServer, joined, ""),
		counted("of joined: backup", s.Backups, joined, ""),
		counted("of joined: unused", s.Unused, joined, ""),
		[]string{"all: closed", "", "", list(s.Closes, text)},
		[]string{"all: reasons of RSTs", "", "", list(s.Resets, func(r string) string { return r })},
		[]string{"options", "", "", fmt.Sprintf("ADD_ADDR %s, REMOVE_ADDR %s, MP_PRIO %s, MP_FAIL %s",
			plural.Digits(s.Options.AddAddr), plural.Digits(s.Options.RemoveAddr), plural.Digits(s.Options.Prio), plural.Digits(s.Options.Fail))})
	return t
}

// distributions are percentiles.
func (s *Summary) distributions() experiment.Table {
	t := experiment.Table{Title: "Distributions", Columns: []string{"of MPTCP connections", "count", "p10", "p50", "p90", "p99", "max"}}
	d := &s.Distributions
	for _, x := range []struct {
		what string
		d    *Distribution
	}{
		{"duration, s", d.Duration}, {"bytes", d.Bytes}, {"bytes up", d.Up}, {"bytes down", d.Down},
		{"handshake of first subflows, ms", d.Handshake},
		{"RTT of subflows with data, ms", d.RTT}, {"RTT of data (DATA_ACK), ms", d.DataRTT},
		{"join delay, ms", d.Join}, {"handshake of joins less that of first subflows, ms", d.RTTDifference},
		{"share of first subflows, %", d.FirstShare}, {"reinjected, %", d.Reinjected},
		{"retransmitted by subflows, %", d.Retransmitted},
	} {
		row := []string{x.what, plural.Digits(uint64(x.d.Count()))}
		for _, p := range []float64{10, 50, 90, 99, 100} {
			cell := "-"
			if v := x.d.Percentile(p); !math.IsNaN(v) {
				cell = experiment.Number(v)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Write writes the tables as text.
func (s *Summary) Write(w io.Writer) error {
	for i, t := range s.Tables() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		columns := slices.Clone(t.Columns)
		columns[0] = t.Title
		for _, row := range append([][]string{columns}, t.Rows...) {
			fmt.Fprintln(tab, strings.TrimRight(strings.Join(row, "\t"), "\t"))
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// counted is a row of a number with its share of another one.
func counted(what string, n, of uint64, note string) []string {
	return []string{what, plural.Digits(n), share(n, of), note}
}

func text[T ~string](t T) string { return string(t) }

// list tells counts, the largest first.
func list[K cmp.Ordered](counts map[K]uint64, name func(K) string) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, k := range keys {
		parts = append(parts, name(k)+": "+plural.Digits(counts[k]))
	}
	return strings.Join(parts, ", ")
}

func share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return experiment.Number(percent(part, whole)) + " %"
}
