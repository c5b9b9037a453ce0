// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
)

const (
	withoutAddress = 3 * time.Second
	handOverLimit  = time.Second
)

// move is one change of the client's only address.
type move struct {
	At   float64 `json:"at_seconds"` // when the new address was up
	Took float64 `json:"took_ms"`    // from then until bytes reached the client
	// Still is whether the transfer was seen to stand still in between.
	Still bool `json:"stood_still"`
}

// handOver takes the client's only address away in the course of a transfer and
// gives it another one three seconds later.
func handOver(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	n, between := 10, 4*time.Second
	if e.Quick {
		n, between = 1, time.Second
	}
	s, err := newStage(ctx, e, stageSpec{
		links:      lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}},
		client:     "manager: fullmesh, interfaces: [wifi], keep: 1m",
		aggregator: "manager: default, keep: 1m",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d, err := s.download(endless)
	if err != nil {
		return err
	}
	start := time.Now()
	samples := watchGoodput(d, start)
	var moves []move
	for i := range n {
		if err := await.Pause(ctx, between); err != nil {
			return err
		}
		m, err := s.move(ctx, d, byte(i), start)
		if err != nil {
			return err
		}
		r.Record("move", m)
		moves = append(moves, m)
		e.Step(i+1, n, "bytes again after %.0f ms", m.Took)
	}
	if err := await.Pause(ctx, between); err != nil {
		return err
	}
	g := samples()
	hashErr := d.stop(ctx)
	handedOver(r, moves, g, d.received.Load(), hashErr)
	return nil
}

// move changes the address and waits for the transfer to go on.
func (s *stage) move(ctx context.Context, d *download, number byte, start time.Time) (move, error) {
	var m move
	old := s.WiFi.Addr.V4
	a := s.WiFi.Gateway.V4.As4()
	a[3] += 10 + number
	next := netip.AddrFrom4(a)
	if err := s.Client.RemoveAddress("wifi", netip.PrefixFrom(old, accessBits)); err != nil {
		return m, err
	}
	if err := await.Pause(ctx, withoutAddress/2); err != nil {
		return m, err
	}
	before := d.received.Load()
	if err := await.Pause(ctx, withoutAddress/2); err != nil {
		return m, err
	}
	m.Still = d.received.Load() == before
	if err := s.Client.AddAddress("wifi", netip.PrefixFrom(next, accessBits)); err != nil {
		return m, err
	}
	if err := s.Client.AddRule(netip.PrefixFrom(next, 32), s.WiFi.Table); err != nil {
		return m, err
	}
	// With the last address of the link its routes have gone.
	for _, route := range []lab.Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: s.WiFi.Gateway.V4, Dev: "wifi", Table: s.WiFi.Table},
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: s.WiFi.Gateway.V4, Dev: "wifi", Metric: 100},
	} {
		if err := s.Client.AddRoute(route); err != nil {
			return m, err
		}
	}
	up := time.Now()
	s.WiFi.Addr.V4 = next
	before = d.received.Load()
	err := await.Until(ctx, 20*time.Second, time.Millisecond, "bytes from the new address", func() (bool, error) {
		return d.received.Load() > before, nil
	})
	m.At, m.Took = up.Sub(start).Seconds(), figure.Milliseconds(time.Since(up))
	if errors.Is(err, await.ErrNotInTime) {
		return m, nil // which the verdict shows
	}
	return m, err
}

func handedOver(r *experiment.Result, moves []move, g goodput, received int64, hashErr error) {
	var took []float64
	still := 0
	for _, m := range moves {
		took = append(took, m.Took)
		if m.Still {
			still++
		}
	}
	r.Columns("changes of address", "stood still in between", "bytes again p50 ms", "max ms", "MB received")
	r.Row(fmt.Sprint(len(moves)), fmt.Sprint(still), fmt.Sprintf("%.0f", figure.Median(took)), fmt.Sprintf("%.0f", slices.Max(took)), fmt.Sprintf("%.0f", float64(received)/1e6))
	r.Judge(still == len(moves), "no byte comes while there is no address, so that this is a hand-over", "%d of %d times", still, len(moves))
	r.Judge(slices.Max(took) < figure.Milliseconds(handOverLimit), "the transfer goes on within 1 s after the new address is up", "at most %.0f ms", slices.Max(took))
	r.Judge(hashErr == nil, "nothing lost, hash right", "%s", outcome(hashErr))
	at, rates := g.windows(2)
	p := figure.Lines(figure.Axes{Title: "Download while the only address changes", X: "time in s", Y: "goodput over 200 ms, Mbit/s"}, figure.Series{X: at, Y: rates})
	for i, m := range moves {
		name := ""
		if i == 0 {
			name = "new address"
		}
		p.Mark(figure.Line{Name: name, Value: m.At})
	}
	r.Plot("", p)
}
