// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
)

const (
	linkRate = 20e6
	// payloadRate is what one link of linkRate carries for applications: frames
	// of 1514 bytes have 52 bytes of IP and TCP with timestamps, and 20 of DSS.
	payloadRate = linkRate * (1500 - 52 - 20) / 1514

	healSeed = 7
	// afterReturn is how much a link has to carry to be in use again: more than
	// the handshake of a subflow.
	afterReturn = 20_000
	returnLimit = 2.0 // s

	accessBits = 25
)

// outage is a time in which a link is down.
type outage struct {
	Link     string  `json:"link"`
	At       float64 `json:"at_seconds"`
	Length   float64 `json:"length_seconds"`
	Changed  bool    `json:"address_changed"`
	Returned float64 `json:"return_seconds"` // until the link carried data again
	// Paths are what the client knew of its subflows if that was not in time.
	Paths admin.PathList `json:"paths,omitzero"`
}

// outages are n of them, one within each n-th part of the whole time.
func outages(n int, whole time.Duration) []outage {
	random := rand.New(rand.NewPCG(healSeed, 0))
	slot := whole.Seconds() / float64(n)
	all := make([]outage, n)
	for i := range all {
		all[i] = outage{
			Link:    []string{"wifi", "cell"}[random.IntN(2)],
			At:      (float64(i) + 0.1 + 0.3*random.Float64()) * slot,
			Length:  (0.1 + 0.2*random.Float64()) * slot,
			Changed: i < n/2,
		}
	}
	random.Shuffle(n, func(i, j int) { all[i].Changed, all[j].Changed = all[j].Changed, all[i].Changed })
	return all
}

// healing takes one of two links down again and again in the course of a
// transfer, and half of the times brings it back with another address.
func healing(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	n, whole := 20, 10*time.Minute
	if e.Quick {
		n, whole = 2, 4*time.Second
	}
	s, err := newStage(ctx, e, stageSpec{
		links:  lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}, Cell: lab.LinkSpec{Rate: linkRate}},
		client: "manager: fullmesh, interfaces: [wifi, cell]",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d, err := s.download(endless)
	if err != nil {
		return err
	}
	// The rate is judged once both links are in use.
	if err := await.Until(ctx, 10*time.Second, 10*time.Millisecond, "two subflows", func() (bool, error) {
		live, err := s.established(ctx)
		return len(live) == 2, err
	}); err != nil {
		return err
	}
	if err := await.Pause(ctx, time.Second); err != nil {
		return err
	}
	start := time.Now()
	samples := watchGoodput(d, start)
	all := outages(n, whole)
	links := map[string]*lab.Access{"wifi": &s.WiFi, "cell": &s.Cell}
	for i := range all {
		o := &all[i]
		if err := await.Pause(ctx, time.Until(start.Add(seconds(o.At)))); err != nil {
			return err
		}
		if err := s.outage(ctx, links[o.Link], o, byte(i)); err != nil {
			return err
		}
		r.Record("outage", *o)
		e.Step(i+1, n, "%s back after %.0f ms", o.Link, o.Returned*1e3)
	}
	if err := await.Pause(ctx, time.Until(start.Add(whole))); err != nil {
		return err
	}
	g := samples()
	hashErr := d.stop(ctx)
	healed(r, all, g, d.received.Load(), hashErr)
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// outage takes a link down and up again, and waits until it is in use.
func (s *stage) outage(ctx context.Context, link *lab.Access, o *outage, number byte) error {
	if err := link.Down(); err != nil {
		return err
	}
	if o.Changed {
		if err := s.readdress(link, number); err != nil {
			return err
		}
	}
	if err := await.Pause(ctx, seconds(o.Length)); err != nil {
		return err
	}
	if err := link.Up(); err != nil {
		return err
	}
	up := time.Now()
	before, err := link.Counters()
	if err != nil {
		return err
	}
	err = await.Until(ctx, 15*time.Second, 5*time.Millisecond, "data over "+o.Link, func() (bool, error) {
		now, err := link.Counters()
		return now.BToA-before.BToA >= afterReturn, err
	})
	o.Returned = time.Since(up).Seconds()
	if !errors.Is(err, await.ErrNotInTime) {
		return err
	}
	// The verdict shows it; this shows why.
	o.Paths, err = s.operator.Paths(ctx)
	return err
}

// readdress gives the client another IPv4 address on a link that is down.
func (s *stage) readdress(link *lab.Access, number byte) error {
	a := link.Gateway.V4.As4()
	a[3] += 10 + number
	next := netip.AddrFrom4(a)
	if err := s.Client.RemoveAddress(link.Dev, netip.PrefixFrom(link.Addr.V4, accessBits)); err != nil {
		return err
	}
	link.Addr.V4 = next
	if err := s.Client.AddAddress(link.Dev, netip.PrefixFrom(next, accessBits)); err != nil {
		return err
	}
	return s.Client.AddRule(netip.PrefixFrom(next, 32), link.Table)
}

// healed reports.
func healed(r *experiment.Result, all []outage, g goodput, received int64, hashErr error) {
	var returns []float64
	changed := 0
	for _, o := range all {
		returns = append(returns, o.Returned)
		if o.Changed {
			changed++
		}
	}
	at, rates := g.windows(int(time.Second / sampleEvery))
	_, longer := g.windows(int(2 * time.Second / sampleEvery))
	floor := payloadRate / 1e6
	below := 0
	for _, v := range rates {
		if v < 0.95*floor {
			below++
		}
	}
	r.Record("goodput", g)
	lowest, lowest2 := figure.Percentile(rates, 0), figure.Percentile(longer, 0)
	r.Columns("outages", "of them with new address", "MB received", "return p50 ms", "max ms", "goodput p50 Mbit/s", "lowest 1 s", "lowest 2 s", "1 s windows below one link")
	r.Row(fmt.Sprint(len(all)), fmt.Sprint(changed), fmt.Sprintf("%.0f", float64(received)/1e6),
		fmt.Sprintf("%.0f", figure.Median(returns)*1e3), fmt.Sprintf("%.0f", slices.Max(returns)*1e3),
		fmt.Sprintf("%.1f", figure.Median(rates)), fmt.Sprintf("%.1f", lowest), fmt.Sprintf("%.1f", lowest2),
		fmt.Sprintf("%.2f %%", 100*float64(below)/float64(len(rates))))
	r.Ours(section73, "the link carries data again %.0f ms after it came back (median of %d), %.0f ms at most", figure.Median(returns)*1e3, len(all), slices.Max(returns)*1e3)
	r.Judge(slices.Max(returns) < returnLimit, "each time the link carries data within 2 s of its return", "at most %.2f s", slices.Max(returns))
	r.Judge(lowest >= 0.95*floor, fmt.Sprintf("goodput never below that of the other link (%.1f Mbit/s, less 5 %%) over 1 s", floor), "%.1f Mbit/s at worst; %.1f over 2 s", lowest, lowest2)
	r.Judge(hashErr == nil, "nothing lost, hash right", "%s", outcome(hashErr))
	p := figure.Lines(figure.Axes{Title: "Download while links go and come back", X: "time in s", Y: "goodput over 1 s, Mbit/s"},
		figure.Series{Name: "goodput", X: at, Y: rates})
	p.Limit(figure.Line{Name: "what one link carries", Value: floor})
	r.Plot("", p)
	r.Plot("returns", figure.CDF(figure.Axes{Title: "From the return of a link to data on it", X: "time in s"}, figure.Distribution{Values: returns}))
}

// outcome says how a transfer ended.
func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "all bytes as they were sent"
}
