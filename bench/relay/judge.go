// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math"
	"strings"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// ratios makes a table of metrics beside those of the references.
func (f *field) ratios(metrics ...string) {
	f.r.NextTable("Beside a bare io.Copy relay and beside no relay: median of the ratios of each round")
	columns := []string{""}
	bases := []string{peers.CopyName, peers.DirectName}
	for _, base := range bases {
		for _, m := range metrics {
			columns = append(columns, m+" / "+base)
		}
	}
	f.r.Columns(columns...)
	for _, c := range f.contestants {
		row := []string{c.name}
		for _, base := range bases {
			for _, m := range metrics {
				row = append(row, f.r.Compare(m, c.name, base).Times())
			}
		}
		f.r.Row(row...)
	}
}

// plot draws bars of a metric, if anybody has measured it.
func (f *field) plot(metric, title string) {
	for _, c := range f.contestants {
		if len(f.r.Values(c.name, metric)) > 0 {
			f.r.Plot(strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(metric)), f.r.Bars(metric, title))
			return
		}
	}
}

// best is the other relay with the best median of a metric, of those that speak
// front with clients, if it is not empty; empty if there is none.
func (f *field) best(metric experiment.Metric, front peers.Front) string {
	name, best := "", math.NaN()
	for _, c := range f.contestants {
		switch c.peer.Name {
		case peers.DirectName, peers.CopyName, peers.TandemName:
			continue
		}
		v := figure.Median(f.r.Values(c.name, metric.Name))
		if front != "" && c.peer.Front != front || math.IsNaN(v) {
			continue
		}
		if name == "" || (metric.Better == experiment.Lower) == (v < best) {
			name, best = c.name, v
		}
	}
	return name
}

// atLeast judges that a metric of an arm is so many times that of another one.
func (f *field) atLeast(metric, arm, base string, bound float64, asked string) {
	met, got := f.r.Compare(metric, arm, base).AtLeast(bound)
	if why := f.r.WhyOut(arm); why != "" {
		met, got = false, why
	}
	f.r.Judge(met, asked, "%s", got)
}

// atLeastBest judges so beside the best of the other relays.
func (f *field) atLeastBest(metric, arm string, front peers.Front, bound float64, asked string) {
	best := f.best(experiment.Metric{Name: metric, Better: experiment.Higher}, front)
	if best == "" {
		f.r.Note("No other relay took part to compare %s with: %s", arm, asked)
		return
	}
	f.atLeast(metric, arm, best, bound, asked+", which is "+best)
}
