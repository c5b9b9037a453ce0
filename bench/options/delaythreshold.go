// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/options"
)

var delayThreshold = experiment.Experiment{
	ID:       "options-delay-threshold",
	Title:    "A delay threshold",
	Question: "How soon does the second path help when the first becomes slow, does it rest again when that is over, and does noise have it come and go?",
	Setup:    "Download over two paths of 20 Mbit/s, 5 ms one way, with queues of 30 ms; cubic. The client asks for delay-threshold=100ms in a TCP option. The RTT of the first path goes from 10 to 200 ms and back; then to 90 ± 24 ms without going back.",
	Published: []experiment.Published{
		{Source: fig613, Value: "traffic moves to the second path when the RTT of the first goes above 100 ms"},
	},
	Takes: time.Minute, Quick: 5 * time.Second,
	Run: measureDelayThreshold,
}

const (
	fig613 = "thesis, fig 6.13"

	threshold = 100 * time.Millisecond
	fastDelay = 5 * time.Millisecond // one way
	slowDelay = 100 * time.Millisecond
	// Around the threshold, so that the smoothed RTT crosses it to and fro.
	noisyDelay, noise = 45 * time.Millisecond, 12 * time.Millisecond
	shortQueue        = 75_000 // 30 ms
	// moved is that many bytes.
	moved = 20_000
	// quiet on a path for so long is the end of its use.
	quietFor = 500 * time.Millisecond
)

// slowed is one time that the first path became slow and fast again.
type slowed struct {
	// To is from the change until the second path has brought some packets, more
	// than what the kernel sends again on another path when one falls silent.
	// Above is until the RTT that the server measures was above the threshold.
	To    float64 `json:"to_ms"`
	Above float64 `json:"above_ms"`
	// Back is from the change until the last byte on the second path, Below until
	// the RTT was a quarter below the threshold.
	Back  float64 `json:"back_ms"`
	Below float64 `json:"below_ms"`
	// Meanwhile is the goodput while the first path was slow.
	Meanwhile float64 `json:"meanwhile_mbit_per_second"`

	up, down time.Duration
}

// wavering is what noise around the threshold did.
type wavering struct {
	// Crossings of the threshold by the smoothed RTT, and how often the second
	// path began or ceased to be used.
	Crossings int     `json:"crossings"`
	Changes   int     `json:"changes"`
	Lowest    float64 `json:"lowest_rtt_ms"`
	Highest   float64 `json:"highest_rtt_ms"`
	Seconds   float64 `json:"seconds"`

	from, to time.Duration
}

func measureDelayThreshold(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	warm, hold, times, noisy := 2*time.Second, 3*time.Second, 5, 15*time.Second
	if e.Quick {
		warm, hold, times, noisy = 100*time.Millisecond, 300*time.Millisecond, 1, 300*time.Millisecond
	}
	s, err := newStage(ctx, twoPaths(fastDelay, shortQueue))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	alone, err := s.alone(ctx, warm, hold)
	if err != nil {
		return err
	}
	r.Record("alone", alone)
	d, err := s.bulk(ctx)
	if err != nil {
		return err
	}
	m := d.watch()
	all, w, err := s.slowDown(ctx, e, m, times, hold, noisy)
	t, meterErr := m.stop()
	endErr := d.end()
	intact := endErr == nil
	if errors.Is(endErr, workload.ErrOtherBytes) {
		endErr = nil // which the verdict shows
	}
	if err := errors.Join(err, meterErr, endErr, s.served()); err != nil {
		return err
	}
	for i := range all {
		all[i].measure(t)
		r.Record("slowed", all[i])
	}
	w.count(t)
	r.Record("noise", w)
	tellThreshold(r, t, all, w, alone, intact)
	return nil
}

// slowDown asks for the threshold, and has the first path become slow and fast
// again, and then noisy.
func (s *stage) slowDown(ctx context.Context, e *experiment.Env, m *meter, times int, hold, noisy time.Duration) (all []slowed, w wavering, err error) {
	if err := s.ask(m.d.connection, options.DelayThreshold, threshold.String()); err != nil {
		return nil, w, err
	}
	if _, err := s.answerTo(ctx, m.d.connection, options.DelayThreshold); err != nil {
		return nil, w, err
	}
	if err := m.awaitQuiet(ctx); err != nil {
		return nil, w, err
	}
	for i := range times {
		var x slowed
		x.up = m.now()
		if err := s.WiFi.SetDelay(slowDelay); err != nil {
			return nil, w, err
		}
		if err := m.awaitBytes(ctx, 1); err != nil {
			return nil, w, err
		}
		if err := await.Pause(ctx, hold); err != nil {
			return nil, w, err
		}
		x.down = m.now()
		if err := s.WiFi.SetDelay(fastDelay); err != nil {
			return nil, w, err
		}
		if err := m.awaitQuiet(ctx); err != nil {
			return nil, w, err
		}
		all = append(all, x)
		e.Step(i+1, times+1, "slow and fast again")
	}
	w.from = m.now()
	if err := errors.Join(s.WiFi.SetDelay(noisyDelay), s.WiFi.SetJitter(noise), await.Pause(ctx, noisy)); err != nil {
		return nil, w, err
	}
	w.to = m.now()
	e.Step(times+1, times+1, "noise")
	return all, w, errors.Join(s.WiFi.SetJitter(0), s.WiFi.SetDelay(fastDelay))
}

// awaitBytes waits until more bytes have come on a path.
func (m *meter) awaitBytes(ctx context.Context, path int) error {
	before, err := m.last()
	if err != nil {
		return err
	}
	return await.Until(ctx, patience, sampleEvery, "bytes on the path", func() (bool, error) {
		now, err := m.last()
		return now.paths[path] > before.paths[path], err
	})
}

// awaitQuiet waits until nothing has come on the second path for a while.
func (m *meter) awaitQuiet(ctx context.Context) error {
	since, err := m.last()
	if err != nil {
		return err
	}
	return await.Until(ctx, patience, sampleEvery, "an end of data on the second path", func() (bool, error) {
		now, err := m.last()
		if now.paths[1] != since.paths[1] {
			since = now
		}
		return now.at-since.at > quietFor, err
	})
}

// measure finds out what happened when.
func (x *slowed) measure(t trace) {
	x.To, x.Above, x.Below = -1, -1, -1
	base := t[t.index(x.up)].paths[1]
	for _, s := range t[t.index(x.up):t.index(x.down)] {
		if x.To < 0 && s.paths[1] > base+moved {
			x.To = figure.Milliseconds(s.at - x.up)
		}
		if x.Above < 0 && s.rtt[0] > threshold {
			x.Above = figure.Milliseconds(s.at - x.up)
		}
	}
	last := t[t.index(x.down)]
	for _, s := range t[t.index(x.down):] {
		if s.at-last.at > quietFor {
			break
		}
		if s.paths[1] != last.paths[1] {
			last = s
		}
		if x.Below < 0 && s.rtt[0] < threshold*3/4 {
			x.Below = figure.Milliseconds(s.at - x.down)
		}
	}
	x.Back = figure.Milliseconds(last.at - x.down)
	x.Meanwhile = t.rate(total, x.up+time.Duration(x.To*float64(time.Millisecond)), x.down)
}

// useOver is how long a path has to carry something to count as used.
const useOver = 300 * time.Millisecond

// count counts what changed under noise: at most once to the second path, when
// the noise begins.
func (w *wavering) count(t trace) {
	w.Seconds = (w.to - w.from).Seconds()
	part := t[t.index(w.from):t.index(w.to)]
	above, used := false, false
	for _, s := range part {
		rtt := figure.Milliseconds(s.rtt[0])
		if s.at-w.from > time.Second && (w.Lowest == 0 || rtt < w.Lowest) {
			w.Lowest = rtt // once it has come up
		}
		w.Highest = max(w.Highest, rtt)
		if now := s.rtt[0] > threshold; now != above {
			above = now
			w.Crossings++
		}
		if now := t.rate(onPath(1), s.at-useOver, s.at) > 0; now != used {
			used = now
			w.Changes++
		}
	}
}

func tellThreshold(r *experiment.Result, t trace, all []slowed, w wavering, alone baseline, intact bool) {
	r.Columns("", "RTT above 100 ms after", "second path after", "RTT below 75 ms after", "first path alone after", "goodput meanwhile")
	var above, to, below, back, meanwhile []float64
	for i, x := range all {
		r.Row(fmt.Sprint(i+1), settled(x.Above), settled(x.To), settled(x.Below), settled(x.Back), fmt.Sprintf("%.1f Mbit/s", x.Meanwhile))
		above, to, below = append(above, x.Above), append(to, x.To), append(below, x.Below)
		back, meanwhile = append(back, x.Back), append(meanwhile, x.Meanwhile)
	}
	r.NextTable("")
	r.Columns("", "Mbit/s")
	r.Row("first path alone", fmt.Sprintf("%.1f", alone.First))
	r.Row("second path alone", fmt.Sprintf("%.1f", alone.Second))
	r.Row("sum", fmt.Sprintf("%.1f", alone.sum()))
	r.Row("with the threshold, first path slow", experiment.Spread(meanwhile))
	r.Ours(fig613, "it does %.0f ms after the path has become slow, and is back on the first one %.0f ms after it is fast again (medians)", figure.Median(to), figure.Median(back))
	slowRTT, fastRTT := figure.Milliseconds(2*slowDelay), figure.Milliseconds(2*fastDelay)
	r.Judge(figure.Percentile(to, 100) <= 2*slowRTT, "the second path carries data (20 kB) within two of the new round trips of 200 ms", "p50 %.0f ms, at most %.0f ms; the RTT was measured above the threshold after p50 %.0f ms",
		figure.Median(to), figure.Percentile(to, 100), figure.Median(above))
	r.Judge(figure.Percentile(back, 0) >= 0 && figure.Percentile(back, 100) <= 1000, "the second path rests within 1 s when the RTT is 10 ms again", "p50 %.0f ms (%.0f round trips), at most %.0f ms; the RTT was measured below 75 ms after p50 %.0f ms",
		figure.Median(back), figure.Median(back)/fastRTT, figure.Percentile(back, 100), figure.Median(below))
	r.Judge(w.Changes <= 1, "no oscillation under noise: the second path comes once at most and stays", "%d changes in %.0f s, in which the smoothed RTT went from %.0f to %.0f ms and crossed the threshold %d times",
		w.Changes, w.Seconds, w.Lowest, w.Highest, w.Crossings)
	r.Judge(figure.Median(meanwhile) >= (1-within)*alone.best(), "goodput while the first path is slow is that of the better path alone or more", "%.1f Mbit/s, better path %.1f", figure.Median(meanwhile), alone.best())
	r.Judge(intact, "nothing lost, nothing doubled", "%s", right(intact))
	plotThreshold(r, t, all, w, alone)
}

// plotThreshold draws figure 6.13, for the first time and the noise.
func plotThreshold(r *experiment.Result, t trace, all []slowed, w wavering, alone baseline) {
	const width = 200 * time.Millisecond
	cut := func(name string, from, to time.Duration, marks ...figure.Line) {
		part := t[t.index(max(from, 0)):t.index(to)]
		x1, first := part.windows(onPath(0), width)
		x2, second := part.windows(onPath(1), width)
		var x3, rtt []float64
		for _, s := range part {
			x3, rtt = append(x3, s.at.Seconds()), append(rtt, figure.Milliseconds(s.rtt[0])/10)
		}
		p := figure.Lines(figure.Axes{Title: "Delay threshold of 100 ms (the thesis: fig 6.13)", X: "time in s", Y: "payload, Mbit/s; RTT, 10 ms"},
			figure.Series{Name: "first path", X: x1, Y: first}, figure.Series{Name: "second path", X: x2, Y: second},
			figure.Series{Name: "RTT of the first path", X: x3, Y: rtt}).
			Limit(figure.Line{Name: "threshold", Value: figure.Milliseconds(threshold) / 10}).
			Limit(figure.Line{Name: "best single path", Value: alone.best()}).
			Limit(figure.Line{Name: "sum of both", Value: alone.sum()})
		for _, l := range marks {
			p.Mark(l)
		}
		r.Plot(name, p)
	}
	cut("", all[0].up-time.Second, all[0].down+time.Second,
		figure.Line{Name: "RTT 200 ms, and 10 ms again", Value: all[0].up.Seconds()}, figure.Line{Value: all[0].down.Seconds()})
	cut("noise", w.from, w.to)
}
