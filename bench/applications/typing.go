// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

var typingWays = []string{
	"tcp wifi", "tcp cell", testbed.MPTCP, testbed.SOCKS5, testbed.Transparent, testbed.Redundant,
}

// noticed is what a person who types takes for a pause.
const noticed = 500 * time.Millisecond

// typing has somebody type on all ways at once, while the Wi-Fi is lost and
// comes back.
func typing(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	t, err := newTrial(ctx, e, r, "phone", typingWays...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	rounds := e.Rounds(3, 1)
	length := 12 * time.Second
	if e.Quick {
		length = 1500 * time.Millisecond
	}
	for i, o := range []struct {
		outage
		title, name string
	}{{silent, "the Wi-Fi loses everything", "silent"}, {seen, "the Wi-Fi goes down", "down"}} {
		t.reset()
		var last map[string]*workload.Result
		for round := range rounds {
			load := workload.Typing{Seed: e.Seed + uint64(round), Mean: 180 * time.Millisecond}
			if e.Quick {
				load.Mean = 30 * time.Millisecond
			}
			load.Keys = int(length / load.Mean)
			last, err = t.together(ctx, load, func(ctx context.Context) error { return o.happen(ctx, t, length/3, length/3) })
			if err != nil {
				return err
			}
			for way, one := range last {
				t.add(way, i*rounds+round, one)
			}
			e.Step(i*rounds+round+1, 2*rounds, "%s: longest echo of %s %s ms", o.title, testbed.Transparent, ms(last[testbed.Transparent].Latency.Max()))
		}
		t.latencies(o.title, "keys")
		r.Plot(o.name, t.echoes("Echoes while "+o.title, last))
		t.judgeComplete("keys while "+o.title, testbed.SOCKS5, testbed.Transparent, testbed.Redundant)
		t.judgeBelow(100, testbed.Transparent, "tcp wifi", "the shell does not wait for the Wi-Fi")
		if worst, ok := t.percentile(testbed.Redundant, 100); ok {
			r.Judge(worst < noticed, fmt.Sprintf("%s: no key takes %v while %s", testbed.Redundant, noticed, o.title), "longest %s ms", ms(worst))
		}
	}
	r.Note("The best single path is %s, which a phone would have to know before. The rate of keys is far below that of either link, so that the sum of both plays no part.", "tcp cell")
	return nil
}

// echoes draws the last round over time.
func (t *trial) echoes(title string, by map[string]*workload.Result) *figure.Plot {
	var all []figure.Series
	for _, w := range t.ways {
		s := figure.Series{Name: w.Name}
		for _, x := range by[w.Name].Samples {
			s.X, s.Y = append(s.X, x.At.Seconds()), append(s.Y, figure.Milliseconds(x.Took))
		}
		if len(s.X) > 0 {
			all = append(all, s)
		}
	}
	return figure.Lines(figure.Axes{Title: title, X: "when the key was pressed, s", Y: "time to its echo, ms"}, all...)
}
