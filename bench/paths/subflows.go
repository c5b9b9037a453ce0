// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
)

const delayBytes = 1_000_000

// mesh is a path manager with the subflows that it should come to.
type mesh struct {
	name               string
	client, aggregator string
	converter          netip.AddrPort
	want               func(*stage) []string // in order
}

func pair(local, remote netip.Addr) string { return local.String() + " > " + remote.String() }

func meshes() []mesh {
	announcing := func(addr string) string {
		return `manager: fullmesh, announce: ["` + addr + `"]`
	}
	const full = "manager: fullmesh, interfaces: [wifi, cell]"
	v4, second := converterV4.Addr(), netip.MustParseAddr(secondAddress)
	return []mesh{
		{"ndiffports 3", "manager: ndiffports, subflows: 3", "", converterV4, func(s *stage) []string {
			return slices.Repeat([]string{pair(s.WiFi.Addr.V4, v4)}, 3)
		}},
		{"fullmesh 2×1", full, "", converterV4, func(s *stage) []string {
			return []string{pair(s.WiFi.Addr.V4, v4), pair(s.Cell.Addr.V4, v4)}
		}},
		{"fullmesh 2×2", full, announcing(secondAddress + ":8803"), converterV4, func(s *stage) []string {
			return []string{
				pair(s.WiFi.Addr.V4, v4), pair(s.Cell.Addr.V4, v4),
				pair(s.WiFi.Addr.V4, second), pair(s.Cell.Addr.V4, second),
			}
		}},
		{"fullmesh dual stack", full, announcing(converterV4.String()), converterV6, func(s *stage) []string {
			v6 := converterV6.Addr()
			return []string{
				pair(s.WiFi.Addr.V6, v6), pair(s.Cell.Addr.V6, v6),
				pair(s.WiFi.Addr.V4, v4), pair(s.Cell.Addr.V4, v4),
			}
		}},
		{"delaying 1 MB", fmt.Sprintf("manager: delaying, bytes: %dB, interfaces: [wifi, cell]", delayBytes), "", converterV4, func(s *stage) []string {
			return []string{pair(s.WiFi.Addr.V4, v4), pair(s.Cell.Addr.V4, v4)}
		}},
	}
}

// subflowsOverTime has each path manager work on a download, and looks at the
// subflows that it has.
func subflowsOverTime(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	r.Columns("manager", "wanted", "there at the end", "others seen", "complete after ms", "hash")
	var lines []figure.Series
	length := 4 * time.Second
	if e.Quick {
		length = 400 * time.Millisecond
	}
	all, right := meshes(), 0
	for i, m := range all {
		series, ok, err := watchMesh(ctx, r, m, length)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if ok {
			right++
		}
		lines = append(lines, series)
		r.Env.Step(i+1, len(all)+1, "%s", m.name)
	}
	r.Plot("", figure.Lines(figure.Axes{Title: "Subflows of a download", X: "time since its beginning in s", Y: "established subflows"}, lines...))
	r.Ours(section73, "%d of %d set-ups of them have exactly the subflows that they should", right, len(all))
	return shortOnes(ctx, r)
}

// mesh is one path manager.
func watchMesh(ctx context.Context, r *experiment.Result, m mesh, length time.Duration) (series figure.Series, right bool, err error) {
	series = figure.Series{Name: m.name, Steps: true}
	s, err := newStage(ctx, r.Env, stageSpec{
		links:  lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}, Cell: lab.LinkSpec{Rate: linkRate}},
		client: m.client, aggregator: m.aggregator, converter: m.converter,
	})
	if err != nil {
		return series, false, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	want := m.want(s)
	slices.Sort(want)
	d, err := s.download(endless)
	if err != nil {
		return series, false, err
	}
	start := time.Now()
	complete := math.NaN()
	var got []string
	others := map[string]bool{}
	for end := start.Add(length); time.Now().Before(end); {
		live, err := s.established(ctx)
		if err != nil {
			return series, false, err
		}
		got = got[:0]
		for _, f := range live {
			p := pair(f.Local.Addr().Unmap(), f.Remote.Addr().Unmap())
			got = append(got, p)
			if !slices.Contains(want, p) {
				others[p] = true
			}
		}
		if len(got) > len(want) {
			others[fmt.Sprintf("%d at once", len(got))] = true
		}
		slices.Sort(got)
		now := time.Since(start)
		if slices.Equal(got, want) && math.IsNaN(complete) {
			complete = figure.Milliseconds(now)
		}
		series.X, series.Y = append(series.X, now.Seconds()), append(series.Y, float64(len(got)))
		if err := await.Pause(ctx, 10*time.Millisecond); err != nil {
			return series, false, err
		}
	}
	hashErr := d.stop(ctx)
	r.Record("series", map[string]any{"manager": m.name, "seconds": series.X, "subflows": series.Y, "at_end": got, "wanted": want})
	right = slices.Equal(got, want) && len(others) == 0 && hashErr == nil
	r.Row(m.name, fmt.Sprint(len(want)), fmt.Sprint(len(got)), fmt.Sprint(len(others)), fmt.Sprintf("%.0f", complete), outcome(hashErr))
	r.Judge(right, m.name+": exactly the subflows expected", "%s", strings.Join(got, ", "))
	return series, right, nil
}

// exchange is a short connection.
type exchange struct {
	Bytes    int64 `json:"bytes"`
	Subflows int   `json:"subflows"`
}

// shortOnes has many connections of sizes that are spread as evenly over their
// logarithm as those of the web about are, from 1 kB to 10 MB, under delaying.
func shortOnes(ctx context.Context, r *experiment.Result) (err error) {
	n := 300
	if r.Env.Quick {
		n = 20
	}
	s, err := newStage(ctx, r.Env, stageSpec{client: fmt.Sprintf("manager: delaying, bytes: %dB, interfaces: [wifi, cell]", delayBytes),
		links: lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 10 * linkRate}, Cell: lab.LinkSpec{Rate: 10 * linkRate}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// Each subflow that is opened, counted by connection.
	watching, stopWatching := context.WithCancel(ctx)
	opened := map[admin.Token]int{}
	var tokens []admin.Token
	ready, done := make(chan struct{}), make(chan error, 1)
	missed := uint64(0)
	go func() {
		done <- s.operator.PathEvents(watching, func() { close(ready) }, func(v *admin.PathEvent) error {
			missed += v.Missed
			if v.Event == "opened" {
				if opened[v.Token] == 0 {
					tokens = append(tokens, v.Token)
				}
				opened[v.Token]++
			}
			return nil
		})
	}()
	<-ready
	random := rand.New(rand.NewPCG(1, 1))
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = int64(1000 * math.Pow(10, 4*random.Float64()))
		d, err := s.download(sizes[i])
		if err == nil {
			err = d.wait(ctx)
		}
		if err != nil {
			stopWatching()
			<-done
			return err
		}
	}
	pauseErr := await.Pause(ctx, 500*time.Millisecond)
	stopWatching()
	<-done
	if pauseErr != nil {
		return pauseErr
	}
	judgeShort(r, sizes, tokens, opened, missed)
	return nil
}

func judgeShort(r *experiment.Result, sizes []int64, tokens []admin.Token, opened map[admin.Token]int, missed uint64) {
	if len(tokens) != len(sizes) || missed > 0 {
		r.Judge(false, "delaying: every short connection is followed", "%d of %d, %d events missed", len(tokens), len(sizes), missed)
		return
	}
	var single, early, short int
	for i, token := range tokens {
		x := exchange{sizes[i], opened[token]}
		r.Record("short", x)
		if x.Subflows == 1 {
			single++
		}
		if x.Bytes < delayBytes*9/10 { // less the Convert header and the trailer
			short++
			if x.Subflows > 1 {
				early++
			}
		}
	}
	share := func(n, of int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(of, 1))) }
	r.Judge(early == 0, "delaying: connections below the threshold never open a second subflow", "%s of the %d below 0.9 MB have one subflow", share(short-early, short), short)
	r.Judge(single > 0, "delaying: share of connections of 1 kB to 10 MB (even in the logarithm) that never open a second subflow", "%s of %d", share(single, len(sizes)), len(sizes))
	r.Plot("delaying", figure.Bars(figure.Axes{Title: "Connections that never open a second subflow, delaying by 1 MB", Y: "%"},
		figure.Bar{Name: "all, 1 kB to 10 MB", Value: 100 * float64(single) / float64(len(sizes))},
		figure.Bar{Name: "those below 0.9 MB", Value: 100 * float64(short-early) / float64(max(short, 1))}))
}
