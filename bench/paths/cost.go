// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

const (
	// costLimit is how much of the connections per second following may take.
	costLimit = 0.03
	// nothing is what two that do the same may differ by.
	nothing = 0.01
)

const costConfig = `admin: {socket: %s}
listeners:
  - {name: app, type: forward, listen: ["192.0.2.1:7000"], allow-from: [192.0.2.0/24], forward: {target: "%s"}, paths: {manager: %s}}
`

// contestant is a tandem in a namespace of its own, since the kernel settles
// for all of a namespace whether there are path managers in user space.
type contestant struct {
	name    string
	manager string // of the paths of its listener
	// user leaves new connections of the namespace to path managers in user space
	// although there are none.
	user bool
	// heard has a process listen to the events of MPTCP in netlink while a sample is
	// taken, as the engine of path managers does.
	heard  bool
	host   *lab.Host
	tandem *apps.Tandem
	rates  []float64
	cpu    []float64 // µs for each connection
}

// cost measures new connections per second of a tandem that follows them with
// eBPF events and the engine of path managers, and of one that does not, in
// turns. Before that, in the full form, it measures what of the difference is
// not Tandem's: between two that do not, and what the kernel takes for what
// following needs.
func cost(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	rounds, each := 30, time.Second
	off := &contestant{name: "off", manager: "kernel"}
	if e.Quick {
		rounds, each = 1, 300*time.Millisecond
	} else if err := costOfNothing(ctx, e, r, rounds, each); err != nil {
		return err
	}
	on := &contestant{name: "on", manager: "default"}
	if err := contest(ctx, e, r, rounds, each, off, on); err != nil {
		return err
	}
	r.NextTable("events")
	bars := compared(r, "events", off, on)
	ratio, text := on.beside(off)
	r.Judge(ratio >= 1-costLimit, "at most 3 % fewer connections per second with events", "%s", text)
	r.Plot("", figure.Bars(figure.Axes{Title: "New MPTCP connections with and without events", Y: "connections per second"}, bars...))
	return nil
}

// costOfNothing compares tandems that follow no connections. It ends before one
// comes that does: while any process of the machine listens, the kernel makes
// events for all namespaces.
func costOfNothing(ctx context.Context, e *experiment.Env, r *experiment.Result, rounds int, each time.Duration) error {
	off := &contestant{name: "off", manager: "kernel"}
	again := &contestant{name: "off, another namespace", manager: "kernel"}
	heard := &contestant{name: "off, netlink heard", manager: "kernel", heard: true}
	user := &contestant{name: "off, netlink heard, manager in user space", manager: "kernel", heard: true, user: true}
	if err := contest(ctx, e, r, rounds, each, off, again, heard, user); err != nil {
		return err
	}
	r.NextTable("without events")
	compared(r, "without events", off, again, heard, user)
	ratio, text := again.beside(off)
	r.Judge(ratio >= 1-nothing && ratio <= 1+nothing, "two namespaces without events differ by 1 % at most", "%s", text)
	for _, c := range []*contestant{heard, user} {
		_, text := c.beside(off)
		r.Note("Beside off, %s: %s.", strings.TrimPrefix(c.name, "off, "), text)
	}
	return nil
}

// contest measures in turns, each second time in reverse order: whoever comes
// later may find the machine warmer.
func contest(ctx context.Context, e *experiment.Env, r *experiment.Result, rounds int, each time.Duration, contestants ...*contestant) (err error) {
	l, err := lab.New("pathscost")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for i, c := range contestants {
		dir, err := os.MkdirTemp("", "tandem-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := c.start(ctx, e, l, fmt.Sprintf("n%d", i), dir); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer func() { err = errors.Join(err, c.tandem.Stop()) }()
	}
	for round := range rounds + 1 {
		order := slices.Clone(contestants)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			if err := c.measure(ctx, e, each); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if round == 0 { // to warm up
			for _, c := range contestants {
				c.rates, c.cpu = nil, nil
			}
			continue
		}
		text := ""
		for _, c := range contestants {
			rate := c.rates[round-1]
			r.Record("sample", map[string]any{"round": round, "of": c.name, "per_second": rate, "cpu_us": c.cpu[round-1]})
			text += fmt.Sprintf(", %.0f %s", rate, c.name)
		}
		e.Step(round, rounds, "connections/s%s", text)
	}
	return nil
}

func (c *contestant) start(ctx context.Context, e *experiment.Env, l *lab.Lab, host, dir string) error {
	var err error
	if c.host, err = l.Host(host); err != nil {
		return err
	}
	if err := c.host.ManyConnections(); err != nil {
		return err
	}
	if c.user {
		if err := c.host.Do(func() error {
			_, err := mptcp.SetPathManager(mptcp.PathManagerUserspace) // it ends with the namespace
			return err
		}); err != nil {
			return err
		}
	}
	source := netip.MustParseAddr("203.0.113.80")
	for _, addr := range []netip.Addr{source, netip.MustParseAddr("192.0.2.1")} {
		if err := c.host.AddAddress("lo", netip.PrefixFrom(addr, 32)); err != nil {
			return err
		}
	}
	program, args := e.Child(load.SourceChild, source.String())
	p := c.host.Command(ctx, program, args...)
	out := new(apps.Log)
	p.Stdout, p.Stderr = out, out
	if err := p.Start(); err != nil { // ends with the lab
		return err
	}
	if err := await.Until(ctx, 10*time.Second, 10*time.Millisecond, "the source", func() (bool, error) { return out.String() != "", nil }); err != nil {
		return err
	}
	c.tandem, err = apps.StartTandem(ctx, c.host, apps.TandemConfig{
		Command: []string{e.Tandem}, Dir: dir,
		Config: fmt.Sprintf(costConfig, filepath.Join(dir, "s"), netip.AddrPortFrom(source, load.Answer.Port(false)), c.manager),
	})
	return err
}

// hear listens as the engine does, which leaves most to the programs: the kernel
// makes events, and drops them.
func (c *contestant) hear() (events *pm.Events, err error) {
	err = c.host.Do(func() error {
		events, err = pm.Subscribe(pm.Options{})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := events.Only(pm.Announced{}, pm.Removed{}, pm.SubflowPriority{}); err != nil {
		return nil, errors.Join(err, events.Close())
	}
	return events, nil
}

// measure adds one sample.
func (c *contestant) measure(ctx context.Context, e *experiment.Env, d time.Duration) error {
	if c.heard {
		events, err := c.hear()
		if err != nil {
			return err
		}
		defer events.Close()
	}
	job := load.Job{
		Workload: load.Connections, Via: netip.MustParseAddrPort("192.0.2.1:7000"), MPTCP: true,
		Streams: 32, Duration: d, Patience: 5 * time.Second,
	}
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	group := measure.Group{PGID: c.tandem.Pid()}
	before, err := group.CPU()
	if err != nil {
		return err
	}
	program, args := e.Child(load.ClientChild, string(text))
	out, err := c.host.Command(ctx, program, args...).Output()
	if err != nil {
		return err
	}
	after, err := group.CPU()
	if err != nil {
		return err
	}
	var got load.Result
	if err := json.Unmarshal(bytes.TrimSpace(out), &got); err != nil {
		return err
	}
	if got.Failed > 0 || got.Connections == 0 {
		return fmt.Errorf("%d connections failed: %s", got.Failed, got.Error)
	}
	c.rates = append(c.rates, got.PerSecond())
	c.cpu = append(c.cpu, float64((after-before).Microseconds())/float64(got.Connections))
	return nil
}

// beside is the rate of c as a share of that of another one, in pairs.
func (c *contestant) beside(base *contestant) (ratio float64, text string) {
	var ratios []float64
	for i, rate := range c.rates {
		ratios = append(ratios, rate/base.rates[i])
	}
	ratio, interval := figure.Median(ratios), figure.MedianInterval(ratios, 0.95)
	return ratio, fmt.Sprintf("%+.1f %%, 95 %% interval %+.1f to %+.1f %%, median of %d pairs",
		100*(ratio-1), 100*(interval.Low-1), 100*(interval.High-1), len(ratios))
}

// compared fills a table.
func compared(r *experiment.Result, title string, contestants ...*contestant) (bars []figure.Bar) {
	r.Columns(title, "connections/s p50", "95 % interval", "CPU of tandem µs each p50")
	for _, c := range contestants {
		interval := figure.MedianInterval(c.rates, 0.95)
		r.Row(c.name, fmt.Sprintf("%.0f", figure.Median(c.rates)), fmt.Sprintf("%.0f–%.0f", interval.Low, interval.High), fmt.Sprintf("%.0f", figure.Median(c.cpu)))
		bars = append(bars, figure.Bar{Name: title + " " + c.name, Value: figure.Median(c.rates), Range: interval})
	}
	return bars
}
