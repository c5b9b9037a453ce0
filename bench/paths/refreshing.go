// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// refreshLimit is how long a replacement may take beyond two round trips.
const refreshLimit = 5 * time.Millisecond

// reset is one RST and what came after it, as the client's interface saw it.
type reset struct {
	At  float64 `json:"at_seconds"`
	RTT float64 `json:"rtt_ms"` // from the SYN of the new subflow to its SYN-ACK
	// Took is the time from the RST that was believed to the SYN-ACK, which
	// establishes the new subflow.
	Took float64 `json:"took_ms"`
	// Doubted is how long TCP did not believe RSTs before: their sequence number
	// was not the expected one, since more data was on its way (RFC 5961 section
	// 3.2).
	Doubted float64 `json:"doubted_ms"`
}

// refreshing has the only subflow of a download reset every two seconds by a
// middlebox in front of the aggregator.
func refreshing(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	n, every := 50, 2*time.Second
	if e.Quick {
		n, every = 2, time.Second
	}
	s, err := newStage(ctx, e, stageSpec{
		links:  lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}},
		client: "manager: refreshing, interfaces: [wifi]",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	packets, err := capture.Start(ctx, s.Client, "wifi", "tcp dst port 8803 or (tcp src port 8803 and tcp[tcpflags] & (tcp-syn|tcp-rst) != 0)", filepath.Join(s.dir, "refreshing.pcap"))
	if err != nil {
		return err
	}
	if err := nft(ctx, s.Aggregator, "add table inet box", "add chain inet box input { type filter hook input priority 0; }"); err != nil {
		return err
	}
	d, err := s.download(endless)
	if err != nil {
		return err
	}
	start := time.Now()
	samples := watchGoodput(d, start)
	var killed []netip.AddrPort
	for i := range n {
		if err := await.Pause(ctx, time.Until(start.Add(time.Duration(i+1)*every))); err != nil {
			return err
		}
		port, err := s.resetOnly(ctx, killed)
		if err != nil {
			return err
		}
		killed = append(killed, port)
		e.Step(i+1, n, "reset and replaced")
	}
	if err := await.Pause(ctx, every); err != nil {
		return err
	}
	g := samples()
	hashErr := d.stop(ctx)
	segments, err := packets.Stop()
	if err != nil {
		return err
	}
	refreshed(r, resets(segments, killed, start), n, g, d.received.Load(), hashErr)
	return nil
}

// resetOnly has the only subflow reset by the box, waits until there is another
// one, and opens the box, so that the far end of the old one finds out as well.
func (s *stage) resetOnly(ctx context.Context, killed []netip.AddrPort) (netip.AddrPort, error) {
	var victim netip.AddrPort
	only := func(different bool) func() (bool, error) {
		return func() (bool, error) {
			live, err := s.established(ctx)
			live = slices.DeleteFunc(live, func(f admin.Subflow) bool {
				return slices.Contains(killed, f.Local) || different && f.Local == victim
			})
			if err != nil || len(live) != 1 {
				return false, err
			}
			if !different {
				victim = live[0].Local
			}
			return true, nil
		}
	}
	if err := await.Until(ctx, 10*time.Second, 5*time.Millisecond, "a subflow", only(false)); err != nil {
		return victim, err
	}
	rule := fmt.Sprintf("add rule inet box input tcp sport %d tcp dport 8803 reject with tcp reset", victim.Port())
	if err := nft(ctx, s.Aggregator, rule); err != nil {
		return victim, err
	}
	if err := await.Until(ctx, 10*time.Second, 5*time.Millisecond, "another subflow", only(true)); err != nil {
		return victim, err
	}
	return victim, nft(ctx, s.Aggregator, "flush chain inet box input")
}

// resets finds in what was captured the RST to each port that was believed,
// which is the first one after which nothing but RSTs came from there, and the
// handshake of the subflow that replaced it.
func resets(segments []packet.Segment, killed []netip.AddrPort, start time.Time) []reset {
	var all []reset
	for _, port := range killed {
		first, i := -1, -1
		for j, s := range segments {
			switch {
			case s.Src == port && s.Flags&packet.RST == 0:
				i = -1
			case s.Dst == port && s.Flags&packet.RST != 0:
				if first < 0 {
					first = j
				}
				if i < 0 {
					i = j
				}
			}
		}
		if i < 0 {
			continue
		}
		var syn packet.Segment
		for _, s := range segments[i:] {
			if _, join := s.Options.MPTCP(wire.MPJoin); !join {
				continue
			}
			if s.IsSYN() {
				syn = s // the last one, if it had to be sent again
			}
			if s.IsSYNACK() && s.Dst == syn.Src {
				all = append(all, reset{
					At:      segments[i].Time.Sub(start).Seconds(),
					RTT:     figure.Milliseconds(s.Time.Sub(syn.Time)),
					Took:    figure.Milliseconds(s.Time.Sub(segments[i].Time)),
					Doubted: figure.Milliseconds(segments[i].Time.Sub(segments[first].Time)),
				})
				break
			}
		}
	}
	return all
}

func refreshed(r *experiment.Result, all []reset, n int, g goodput, received int64, hashErr error) {
	var took, rtts, beyond, doubted []float64
	for _, x := range all {
		doubted = append(doubted, x.Doubted)
		took, rtts, beyond = append(took, x.Took), append(rtts, x.RTT), append(beyond, x.Took-2*x.RTT)
		r.Record("reset", x)
	}
	_, rates := g.windows(int(time.Second / sampleEvery))
	median, interval := figure.Median(took), figure.MedianInterval(took, 0.95)
	r.Columns("RSTs", "replaced", "took p50 ms", "95 % interval", "p99 ms", "RTT p50 ms", "took less 2 RTT p50 ms", "doubted before p50 ms", "goodput p50 Mbit/s", "MB received")
	r.Row(fmt.Sprint(n), fmt.Sprint(len(all)), fmt.Sprintf("%.2f", median), fmt.Sprintf("%.2f–%.2f", interval.Low, interval.High),
		fmt.Sprintf("%.2f", figure.Percentile(took, 99)), fmt.Sprintf("%.2f", figure.Median(rtts)), fmt.Sprintf("%.2f", figure.Median(beyond)), fmt.Sprintf("%.2f", figure.Median(doubted)),
		fmt.Sprintf("%.1f", figure.Median(rates)), fmt.Sprintf("%.0f", float64(received)/1e6))
	r.Ours(fig71, "%d of %d replaced, after %.1f ms (median)", len(all), n, median)
	r.Judge(len(all) == n, "each subflow is replaced", "%d of %d", len(all), n)
	r.Judge(figure.Median(beyond) < figure.Milliseconds(refreshLimit), "from RST to the new subflow: median under 2 RTT + 5 ms", "%.2f ms, which is 2 RTT %+.2f ms", median, figure.Median(beyond))
	r.Judge(hashErr == nil, "nothing lost, hash right", "%s", outcome(hashErr))
	r.Plot("", figure.CDF(figure.Axes{Title: "From the RST on the only subflow to its replacement", X: "time in ms"},
		figure.Distribution{Name: "RST to established", Values: took}, figure.Distribution{Name: "RTT", Values: rtts}))
	at, fine := g.windows(2)
	r.Plot("goodput", figure.Lines(figure.Axes{Title: "Download whose only subflow is reset again and again", X: "time in s", Y: "goodput over 200 ms, Mbit/s"},
		figure.Series{X: at, Y: fine}))
}
