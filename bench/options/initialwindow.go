// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

var initialWindow = experiment.Experiment{
	ID:       "options-window",
	Title:    "An initial window that the receiver chooses",
	Question: "On how many web pages of many objects does a larger initial window at the aggregator save time?",
	Setup: "Pages over six connections at a time, as browsers with HTTP/1.1 load them, through Tandem at the client and at the aggregator over one path of 40 Mbit/s, 40 ms one way, with a queue of 60 ms; reno. " +
		"Each page with each window in turns: the client's Tandem asks for initial-window=N in its Convert requests, for 10 it asks for nothing. The server takes 5 ms for an object.",
	Published: []experiment.Published{
		{Source: fig57, Value: "70 % of pages are faster with a larger initial window"},
	},
	Metrics: []experiment.Metric{{Name: "load time", Unit: "ms", Better: experiment.Lower}},
	Takes:   2 * time.Minute, Quick: 5 * time.Second,
	Run: measureWindow,
}

const (
	fig57 = "thesis, fig 5.7"

	pageRate   = 40_000_000
	servesPage = 5 * time.Millisecond
	// fasterPages is the share of pages that the thesis found faster.
	fasterPages = 0.7
)

// windows are the initial windows in segments; the first is the kernel's own.
var windows = []int{10, 20, 30, 40}

var pageServer = netip.MustParseAddrPort("203.0.113.80:9000")

const (
	windowAggregator = `admin: {socket: %s}
listeners:
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803"]
    allow-from: [198.51.100.0/24]
    upstream: direct
    options: {accept: [convert], trusted: [198.51.100.0/24], caps: {initial-window: 64}}
`
	windowClient = `admin: {socket: %s}
listeners:
%supstreams:
%s`
)

func measureWindow(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	list, pages := windows, workload.NewPages(e.Seed, e.Rounds(16, 1))
	if e.Quick {
		list = []int{10, 40}
	}
	s, err := newPageStage(ctx, e, list)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if !e.Quick {
		for _, w := range list { // for cookies of Fast Open, and what is known of the path
			if _, err := s.load(ctx, w, pages[0]); err != nil {
				return err
			}
		}
	}
	var arms []experiment.Arm
	for _, w := range list {
		arms = append(arms, experiment.Arm{Name: windowName(w), Measure: func(ctx context.Context, round int) (experiment.Measured, error) {
			took, err := s.load(ctx, w, pages[round])
			return experiment.Measured{"load time": figure.Milliseconds(took)}, err
		}})
	}
	if err := r.Turns(ctx, len(pages), arms...); err != nil {
		return err
	}
	r.Summary()
	tellWindow(r, list, pages)
	asked, granted, err := s.granted(ctx)
	r.Judge(asked > 0 && granted == asked, "every window that was asked for is in force before the first byte", "%d of %d", granted, asked)
	return err
}

func windowName(w int) string { return fmt.Sprintf("window %d", w) }

func tellWindow(r *experiment.Result, list []int, pages []workload.Page) {
	objects, bytes := 0, int64(0)
	for _, p := range pages {
		objects += len(p.Objects)
		for _, o := range p.Objects {
			bytes += o.Size
		}
	}
	r.Note("%d pages, with %d objects and %.2f MB each on average", len(pages), objects/len(pages), float64(bytes)/1e6/float64(len(pages)))
	base := windowName(list[0])
	r.NextTable("beside the window of 10, on the same page")
	r.Columns("", "faster pages", "load time")
	best := 0.0
	cdf := []figure.Distribution{{Name: base, Values: r.Values(base, "load time")}}
	var gains []figure.Distribution
	for _, w := range list[1:] {
		name := windowName(w)
		values, under := r.Values(name, "load time"), r.Values(base, "load time")
		faster := 0
		ratios := make([]float64, len(values))
		for i := range values {
			ratios[i] = values[i] / under[i]
			if ratios[i] < 1 {
				faster++
			}
		}
		share := float64(faster) / float64(len(values))
		best = max(best, share)
		r.Row(name, fmt.Sprintf("%d of %d (%.0f %%)", faster, len(values), 100*share), r.Compare("load time", name, base).String())
		cdf = append(cdf, figure.Distribution{Name: name, Values: values})
		gains = append(gains, figure.Distribution{Name: name, Values: ratios})
	}
	r.Ours(fig57, "%.0f %% of pages are faster with the best of the larger windows", 100*best)
	r.Judge(best >= fasterPages, "70 % of pages are faster with some larger window, as in the thesis", "%.0f %% with the best one", 100*best)
	r.Plot("", figure.CDF(figure.Axes{Title: "Load times by initial window (the thesis: fig 5.7)", X: "load time of a page, ms", Y: "share of pages"}, cdf...))
	r.Plot("ratio", figure.CDF(figure.Axes{Title: "Load time beside that with a window of 10", X: "ratio; below 1 is faster", Y: "share of pages"}, gains...).
		Mark(figure.Line{Name: "no difference", Value: 1}))
}

// pageStage is a client that runs Tandem with an entry for each window, an
// aggregator that does, and a server of pages behind it.
type pageStage struct {
	*lab.TwoPath
	client, aggregator *apps.Tandem
	serving            sync.WaitGroup
	stop               context.CancelFunc
	dir                string
}

func newPageStage(ctx context.Context, e *experiment.Env, list []int) (*pageStage, error) {
	link := lab.LinkSpec{Rate: pageRate, Delay: farDelay}
	tp, err := lab.NewTwoPath("windowbench", lab.TwoPathSpec{WiFi: link, Cell: link})
	if err != nil {
		return nil, err
	}
	s := &pageStage{TwoPath: tp}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.setUp(ctx, e, list); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *pageStage) setUp(ctx context.Context, e *experiment.Env, list []int) (err error) {
	if s.dir, err = os.MkdirTemp("", "tandem-"); err != nil {
		return err
	}
	if err := s.Client.Command(ctx, "ip", "mptcp", "endpoint", "flush").Run(); err != nil {
		return err
	}
	for _, h := range []*lab.Host{s.Client, s.Aggregator, s.Server} {
		if err := h.Sysctl("net.ipv4.tcp_congestion_control", "reno"); err != nil {
			return err
		}
	}
	if err := s.Server.Do(func() error {
		ln, err := mptcp.NewListener(pageServer, mptcp.ListenOptions{Mode: mptcp.ModeOff, Backlog: 4096})
		if err == nil {
			s.serving.Go(func() { _ = workload.Serve(ctx, ln) }) // clients tell of failures
		}
		return err
	}); err != nil {
		return err
	}
	if s.aggregator, err = s.run(ctx, e, s.Aggregator, fmt.Sprintf(windowAggregator, filepath.Join(s.dir, "a"))); err != nil {
		return err
	}
	var listeners, upstreams strings.Builder
	for _, w := range list {
		fmt.Fprintf(&listeners, "  - {name: w%d, type: forward, listen: [\"%s\"], mptcp: \"off\", upstream: w%d, forward: {target: \"%s\"}}\n", w, pageEntry(w), w, pageServer)
		ask := ""
		if w != windows[0] {
			ask = fmt.Sprintf(", ask: {by: request, options: {initial-window: %d}}", w)
		}
		fmt.Fprintf(&upstreams, "  - {name: w%d, type: convert, servers: [\"192.0.2.1:8803\"], when-down: refuse, health: {interval: 1h}%s}\n", w, ask)
	}
	s.client, err = s.run(ctx, e, s.Client, fmt.Sprintf(windowClient, filepath.Join(s.dir, "c"), &listeners, &upstreams))
	return err
}

func (s *pageStage) run(ctx context.Context, e *experiment.Env, h *lab.Host, config string) (*apps.Tandem, error) {
	return apps.StartTandem(ctx, h, apps.TandemConfig{Command: []string{e.Tandem}, Dir: s.dir, Config: config})
}

// pageEntry is where connections begin for which a window is asked.
func pageEntry(w int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(8000+slices.Index(windows, w)))
}

// granted asks the aggregator how often a window was asked for, and came into
// force.
func (s *pageStage) granted(ctx context.Context) (asked, granted uint64, err error) {
	c := admin.NewClient(filepath.Join(s.dir, "a"))
	defer c.Close()
	status, err := c.Status(ctx)
	asked, granted = askedFor(status, options.InitialWindow)
	return asked, granted, err
}

// askedFor is how often a gateway was asked for an option, and granted it.
func askedFor(status admin.Status, option options.Option) (asked, granted uint64) {
	for _, o := range status.Options {
		if o.Option == option.String() {
			return o.Asked, o.Outcomes[options.AsAsked.String()]
		}
	}
	return 0, 0
}

// load loads a page and tells how long that took.
func (s *pageStage) load(ctx context.Context, w int, p workload.Page) (time.Duration, error) {
	dial := func(ctx context.Context) (c net.Conn, err error) {
		err = s.Client.Do(func() error {
			var d net.Dialer
			d.SetMultipathTCP(false)
			c, err = d.DialContext(ctx, "tcp", pageEntry(w).String())
			return err
		})
		return c, err
	}
	got, err := workload.Browse{Pages: []workload.Page{p}, Serve: servesPage}.Run(ctx, dial)
	if err != nil {
		return 0, err
	}
	if got.Done != 1 {
		return 0, errors.New(got.Error)
	}
	return got.Latency.Max(), nil
}

func (s *pageStage) close() error {
	var errs []error
	for _, t := range []*apps.Tandem{s.client, s.aggregator} {
		if t != nil {
			errs = append(errs, t.Stop())
		}
	}
	s.stop()
	s.serving.Wait()
	errs = append(errs, s.Close())
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
