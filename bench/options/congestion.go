// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/options"
)

const fig56 = "thesis, fig 5.6"

var congestionControl = experiment.Experiment{
	ID:       "options-congestion",
	Title:    "A congestion control that the receiver chooses",
	Question: "Does the sender take the congestion control that the receiver asks for, and does it make the difference that it should?",
	Setup:    "Download over one path of 8 Mbit/s, 40 ms one way, with a queue of 250 ms. The client asks for congestion-control=NAME in a TCP option on its first acknowledgement; the server begins with reno.",
	Published: []experiment.Published{
		{Source: fig56, Value: "NewReno, Cubic, Vegas and BBR reach the same rate; the RTT is lowest for Vegas and BBR"},
	},
	Metrics: []experiment.Metric{
		{Name: "goodput", Unit: "Mbit/s", Better: experiment.Higher},
		{Name: "RTT p50", Unit: "ms", Better: experiment.Lower},
		{Name: "RTT p95", Unit: "ms", Better: experiment.Lower},
		{Name: "answer after", Unit: "ms", Better: experiment.Lower},
	},
	Takes: 45 * time.Second, Quick: 3 * time.Second,
	Run: measureCongestion,
}

const (
	slowRate  = 8_000_000
	farDelay  = 40 * time.Millisecond
	deepQueue = slowRate / 8 / 4 // a quarter of a second
)

func measureCongestion(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	warm, hold, rounds := 3*time.Second, 8*time.Second, 1
	names := []string{"reno", "cubic", "bbr"}
	if e.Quick {
		warm, hold, names = 100*time.Millisecond, 300*time.Millisecond, names[1:]
	}
	link := lab.LinkSpec{Rate: slowRate, Delay: farDelay, Queue: deepQueue}
	s, err := newStage(ctx, stageSpec{links: lab.TwoPathSpec{WiFi: link, Cell: link}, congestion: "reno", single: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	traces := map[string]trace{}
	var arms []experiment.Arm
	for _, name := range names {
		if err := s.steering.CongestionControls()[name]; err != nil {
			r.Out(name, err)
			continue
		}
		arms = append(arms, experiment.Arm{Name: name, Measure: func(ctx context.Context, _ int) (experiment.Measured, error) {
			m, t, err := s.choose(ctx, name, warm, hold)
			traces[name] = t
			return m, err
		}})
	}
	r.Out("vegas", errors.New("not built into this kernel"))
	if err := r.Turns(ctx, rounds, arms...); err != nil {
		return err
	}
	r.Summary()
	tellCongestion(r, arms, traces, warm)
	return nil
}

// choose downloads with a congestion control that the client asks for at once.
func (s *stage) choose(ctx context.Context, name string, warm, hold time.Duration) (_ experiment.Measured, t trace, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	asked := time.Now()
	if err := s.ask(c, options.CongestionControl, name); err != nil {
		c.close()
		return nil, nil, err
	}
	d := startDownload(c)
	m := d.watch()
	answered, err := s.answerTo(ctx, c, options.CongestionControl)
	if err == nil {
		err = await.Pause(ctx, warm+hold)
	}
	t, meterErr := m.stop()
	if err := errors.Join(err, meterErr, d.end(), s.served()); err != nil {
		return nil, nil, err
	}
	var rtts []float64
	for _, x := range t[t.index(warm):] {
		rtts = append(rtts, figure.Milliseconds(x.rtt[0]))
	}
	return experiment.Measured{
		"goodput": t.rate(total, warm, warm+hold), "RTT p50": figure.Median(rtts), "RTT p95": figure.Percentile(rtts, 95),
		"answer after": figure.Milliseconds(answered.Sub(asked)),
	}, t, nil
}

func tellCongestion(r *experiment.Result, arms []experiment.Arm, traces map[string]trace, warm time.Duration) {
	var lines, rates []figure.Series
	var cdf []figure.Distribution
	var goodputs []float64
	rtt := map[string]float64{}
	for _, arm := range arms {
		t := traces[arm.Name]
		at, rate := t.windows(total, 500*time.Millisecond)
		rates = append(rates, figure.Series{Name: arm.Name, X: at, Y: rate})
		line, values := figure.Series{Name: arm.Name}, []float64{}
		for _, x := range t {
			line.X, line.Y = append(line.X, x.at.Seconds()), append(line.Y, figure.Milliseconds(x.rtt[0]))
			if x.at > warm {
				values = append(values, figure.Milliseconds(x.rtt[0]))
			}
		}
		lines, cdf = append(lines, line), append(cdf, figure.Distribution{Name: arm.Name, Values: values})
		goodputs = append(goodputs, r.Values(arm.Name, "goodput")...)
		rtt[arm.Name] = figure.Median(values)
	}
	low, high := figure.Percentile(goodputs, 0), figure.Percentile(goodputs, 100)
	var each []string
	for _, arm := range arms {
		each = append(each, fmt.Sprintf("%s %.0f ms", arm.Name, rtt[arm.Name]))
	}
	r.Ours(fig56, "%.2f to %.2f Mbit/s; median RTT: %s", low, high, strings.Join(each, ", "))
	r.Judge(low >= 0.9*high, "all reach the same rate, within a tenth", "%.2f to %.2f Mbit/s", low, high)
	if bbr, ok := rtt["bbr"]; ok {
		others := fmt.Sprintf("bbr %.0f ms, cubic %.0f ms", bbr, rtt["cubic"])
		if reno, ok := rtt["reno"]; ok {
			others += fmt.Sprintf(", reno %.0f ms", reno)
		}
		r.Judge(bbr < rtt["cubic"] && (rtt["reno"] == 0 || bbr < rtt["reno"]), "bbr has the lowest RTT, as in the thesis", "%s", others)
	}
	axes := figure.Axes{Title: "RTT by congestion control that the receiver asked for (the thesis: fig 5.6)", X: "time in s", Y: "smoothed RTT, ms"}
	r.Plot("", figure.Lines(axes, lines...).Limit(figure.Line{Name: "without a queue", Value: figure.Milliseconds(2 * farDelay)}))
	axes.X, axes.Y = axes.Y, ""
	r.Plot("cdf", figure.CDF(axes, cdf...))
	r.Plot("goodput", figure.Lines(figure.Axes{Title: "Goodput by congestion control that the receiver asked for", X: "time in s", Y: "Mbit/s over 0.5 s"}, rates...))
}
