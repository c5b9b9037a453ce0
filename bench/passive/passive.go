// SPDX-License-Identifier: Apache-2.0

// Package passive has the experiment of chapter 3 of the thesis: what a capture
// at a server tells of its clients' MPTCP connections, beside what these know of
// themselves. It needs root and tcpdump.
package passive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/summary"
)

const chapter3 = "thesis, ch. 3"

// Experiments are those of this package.
var Experiments = []experiment.Experiment{{
	ID: "trace-mix", Title: "What a capture at the server tells",
	Question: "Does a capture at a server tell exactly what its clients' connections did?",
	Setup: "A client with Wi-Fi of 20 Mbit/s and 10 ms and cellular of 10 Mbit/s and 30 ms one way loads pages, sends requests on new connections, " +
		"uploads and downloads over MPTCP, some of that over TCP, and some past a middlebox that strips MPTCP options of SYNs. In the last download Wi-Fi loses all that comes from the server. " +
		"The server's packets are captured (192 bytes of each) and analyzed as tandem trace does. Congestion control is the machine's default.",
	Drawing: `           wifi 20 Mbit/s
         .----------------.
 client <                  > server, captured
         '----------------'
           cell 10 Mbit/s`,
	Published: []experiment.Published{{Source: chapter3, Value: "tables 3.1 and 3.2, figs 3.2–3.8, of traces of a public server: connections, duration, size, subflows per connection, " +
		"join delay, RTT difference, share of the first subflow, unused subflows, reinjections, fallbacks"}},
	Takes: 50 * time.Second, Quick: 2 * time.Second,
	Run: mix,
}}

// Ports of the server; a middlebox strips options on the way to the second.
const (
	port         = 5001
	strippedPort = 5002
)

// stage is a client and a server.
type stage struct {
	*lab.TwoPath
	serving sync.WaitGroup
	stop    context.CancelFunc
	dir     string
	packets *capture.Capture
}

func newStage(ctx context.Context) (*stage, error) {
	tp, err := lab.NewTwoPath("passive", lab.TwoPathSpec{
		WiFi: lab.LinkSpec{Rate: 20e6, Delay: 10 * time.Millisecond}, Cell: lab.LinkSpec{Rate: 10e6, Delay: 30 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	s := &stage{TwoPath: tp}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "tandem-"); err != nil {
		return err
	}
	err = nft(ctx, s.Aggregator, "add table inet box", "add chain inet box pre { type filter hook prerouting priority -400; }",
		fmt.Sprintf("add rule inet box pre tcp dport %d tcp flags & (syn|ack) == syn reset tcp option mptcp", strippedPort))
	if err != nil {
		return err
	}
	for _, p := range []uint16{port, strippedPort} {
		err := s.Aggregator.Do(func() error {
			ln, err := mptcp.NewListener(s.at(p), mptcp.ListenOptions{Mode: mptcp.ModePrefer})
			if err == nil {
				// It ends with the context only.
				s.serving.Go(func() { _ = workload.Serve(ctx, ln) })
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	filter := fmt.Sprintf("tcp portrange %d-%d", port, strippedPort)
	s.packets, err = capture.Start(ctx, s.Aggregator, "any", filter, filepath.Join(s.dir, "server.pcap"), capture.Headers...)
	return err
}

func (s *stage) at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(s.AggregatorAddr.V4, port)
}

func (s *stage) close() error {
	s.stop()
	s.serving.Wait()
	return errors.Join(s.Close(), os.RemoveAll(s.dir))
}

func nft(ctx context.Context, h *lab.Host, lines ...string) error {
	_, err := h.Command(ctx, "nft", strings.Join(lines, "; ")).Output()
	return err
}

// known is what clients know of their connections.
type known struct {
	opened         atomic.Int64
	sent, received int64
}

// run puts a load on the server.
func (s *stage) run(ctx context.Context, k *known, p uint16, mode mptcp.Mode, load workload.Workload) error {
	dial := func(ctx context.Context) (c net.Conn, err error) {
		err = s.Client.Do(func() error {
			d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mode}}
			conn, err := d.DialContext(ctx, "tcp", s.at(p).String())
			if err == nil {
				k.opened.Add(1)
				c = conn
			}
			return err
		})
		return c, err
	}
	r, err := load.Run(ctx, dial)
	if err != nil {
		return err
	}
	if r.Failed > 0 {
		return fmt.Errorf("%s: %d failed: %s", load, r.Failed, r.Error)
	}
	k.sent += r.Sent
	k.received += r.Received
	return nil
}

// part is a part of the mix.
type part struct {
	to   *known
	port uint16
	mode mptcp.Mode
	load workload.Workload
}

func mix(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var multi, plain, stripped known
	exchanges := func(count int) workload.Exchanges {
		return workload.Exchanges{Seed: e.Seed, PerSecond: 20, Count: count,
			Request: workload.Range{Min: 100, Max: 2000}, Answer: workload.Range{Min: 200, Max: 60_000}}
	}
	n, pages, bytes := 200, 10, int64(8_000_000)
	if e.Quick {
		n, pages, bytes = 8, 0, 400_000
	}
	parts := []part{
		{&multi, port, mptcp.ModePrefer, exchanges(n)},
		{&multi, port, mptcp.ModePrefer, workload.Browse{Pages: workload.NewPages(e.Seed, pages)}},
		{&multi, port, mptcp.ModePrefer, workload.Bulk{Up: true, Streams: 2, Bytes: bytes / 2}},
		{&multi, port, mptcp.ModePrefer, workload.Bulk{Streams: 2, Bytes: bytes}},
		{&plain, port, mptcp.ModeOff, exchanges(n / 2)},
		{&stripped, strippedPort, mptcp.ModePrefer, exchanges(n / 4)},
	}
	for i, p := range parts {
		if err := s.run(ctx, p.to, p.port, p.mode, p.load); err != nil {
			return err
		}
		e.Step(i+1, len(parts)+1, "%s", p.load)
	}
	if err := s.loseWiFi(ctx, &multi, bytes); err != nil {
		return err
	}
	e.Step(len(parts)+1, len(parts)+1, "a download that loses Wi-Fi")
	all, err := s.ended(ctx)
	if err != nil {
		return err
	}
	report(r, all, &multi, &plain, &stripped)
	return nil
}

// loseWiFi downloads while nothing arrives over Wi-Fi any more after a quarter.
func (s *stage) loseWiFi(ctx context.Context, k *known, bytes int64) error {
	err := nft(ctx, s.Client, "add table inet lost", "add chain inet lost pre { type filter hook prerouting priority -400; }",
		fmt.Sprintf("add rule inet lost pre iifname wifi quota over %d bytes drop", bytes/4))
	if err != nil {
		return err
	}
	return s.run(ctx, k, port, mptcp.ModePrefer, workload.Bulk{Streams: 1, Bytes: bytes})
}

// analysis is what was read of the capture.
type analysis struct {
	*summary.Summary
	open int // connections that had not ended their streams
	took time.Duration
}

// ended waits until the capture shows the end of connections.
func (s *stage) ended(ctx context.Context) (all analysis, err error) {
	defer func() {
		_, stopErr := s.packets.Stop()
		err = errors.Join(err, stopErr)
	}()
	err = await.Until(ctx, 20*time.Second, time.Second/5, "the end of connections", func() (bool, error) {
		all, err = analyze(s.packets.File())
		return all.open == 0, err
	})
	return all, err
}

func analyze(name string) (analysis, error) {
	start := time.Now()
	file, err := os.Open(name)
	if err != nil {
		return analysis{}, err
	}
	defer file.Close()
	reader, err := packet.NewReader(file)
	if err != nil {
		return analysis{}, err
	}
	all := analysis{Summary: summary.New()}
	a := trace.New(trace.Defaults(), func(c *trace.Connection) {
		all.Add(c)
		if !(c.Up.Ended && c.Down.Ended) && c.Ending == trace.StillOpen {
			all.open++
		}
	})
	var s packet.Segment
	for err = reader.Next(&s); err == nil; err = reader.Next(&s) {
		a.Segment(&s)
	}
	a.Close()
	all.End(reader.Stats(), a.Counts())
	all.took = time.Since(start)
	if err != io.EOF {
		return all, err
	}
	return all, nil
}

func report(r *experiment.Result, all analysis, multi, plain, stripped *known) {
	for _, t := range all.Tables() {
		r.NextTable(t.Title)
		r.Columns(t.Columns...)
		for _, row := range t.Rows {
			r.Row(row...)
		}
	}
	for _, p := range all.Plots() {
		r.Plot(p.Name, p.Plot)
	}
	exact := func(what string, got uint64, want int64) {
		r.Judge(got == uint64(want), what+", exactly", "%d, the clients say %d", got, want)
	}
	exact("MPTCP connections", all.Outcomes[trace.Multipath], multi.opened.Load())
	exact("fallbacks, by their reason", all.Fallbacks[trace.NoCapableSYNACK], stripped.opened.Load())
	exact("TCP connections", all.Counts.TCP, plain.opened.Load())
	exact("bytes up over MPTCP", all.Up.Bytes, multi.sent)
	exact("bytes down over MPTCP", all.Down.Bytes, multi.received)
	exact("bytes over fallbacks", all.FallbackBytes, stripped.sent+stripped.received)
	exact("bytes that are not captured, or without mapping", all.Up.Missing+all.Up.Unmapped+all.Down.Missing+all.Down.Unmapped, 0)
	joins := all.Distributions.Join
	r.Judge(joins.Count() > 0 && joins.Percentile(0) > 0, "subflows join after the first", "%d, the first after %s ms", joins.Count(), experiment.Number(joins.Percentile(0)))
	r.Judge(all.Down.Reinjected > 0, "what Wi-Fi loses is reinjected", "%d bytes", all.Down.Reinjected)
	d := &all.Distributions
	r.Ours(chapter3, "all of them, in the tables above; of %d MPTCP connections, median join delay %s ms, RTT difference %s ms, share of the first subflow %s %%",
		all.Outcomes[trace.Multipath], experiment.Number(d.Join.Percentile(50)), experiment.Number(d.RTTDifference.Percentile(50)), experiment.Number(d.FirstShare.Percentile(50)))
	r.Note("The thesis analyzed clients of a public server; these are clients of a lab, so that what they did is known. %d packets were analyzed in %s ms.",
		all.Capture.Packets, experiment.Number(figure.Milliseconds(all.took)))
}
