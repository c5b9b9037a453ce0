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
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
)

// costLimit is how much of the connections per second following may take.
const costLimit = 0.03

const costConfig = `admin: {socket: %s}
listeners:
  - {name: app, type: forward, listen: ["192.0.2.1:7000"], allow-from: [192.0.2.0/24], forward: {target: "%s"}, paths: {manager: %s}}
`

// contestant is a tandem in a namespace of its own, since the kernel settles
// for all of a namespace whether there are path managers in user space.
type contestant struct {
	name   string
	host   *lab.Host
	tandem *apps.Tandem
	rates  []float64
	cpu    []float64 // µs for each connection
}

// cost measures new connections per second of a tandem that follows them with
// eBPF events and the engine of path managers, and of one that does not, in
// turns.
func cost(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	rounds, each := 30, time.Second
	if e.Quick {
		rounds, each = 1, 300*time.Millisecond
	}
	l, err := lab.New("pathscost")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	off, on := &contestant{name: "off"}, &contestant{name: "on"}
	for c, manager := range map[*contestant]string{off: "kernel", on: "default"} {
		dir, err := os.MkdirTemp("", "tandem-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := c.start(ctx, e, l, dir, manager); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	var ratios []float64
	for i := range rounds + 1 {
		// Whoever comes second may find the machine warmer.
		order := []*contestant{off, on}
		if i%2 == 1 {
			order = []*contestant{on, off}
		}
		for _, c := range order {
			if err := c.measure(ctx, e, each); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if i == 0 { // to warm up
			off.rates, on.rates, off.cpu, on.cpu = nil, nil, nil, nil
			continue
		}
		ratios = append(ratios, on.rates[i-1]/off.rates[i-1])
		r.Record("round", map[string]float64{"off": off.rates[i-1], "on": on.rates[i-1], "off_cpu_us": off.cpu[i-1], "on_cpu_us": on.cpu[i-1]})
		e.Step(i, rounds, "%.0f connections/s without, %.0f with", off.rates[i-1], on.rates[i-1])
	}
	compared(r, off, on, ratios)
	return nil
}

func (c *contestant) start(ctx context.Context, e *experiment.Env, l *lab.Lab, dir, manager string) error {
	var err error
	if c.host, err = l.Host(c.name); err != nil {
		return err
	}
	if err := c.host.ManyConnections(); err != nil {
		return err
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
		Config: fmt.Sprintf(costConfig, filepath.Join(dir, "s"), netip.AddrPortFrom(source, load.Answer.Port(false)), manager),
	})
	return err
}

// measure adds one sample.
func (c *contestant) measure(ctx context.Context, e *experiment.Env, d time.Duration) error {
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

func compared(r *experiment.Result, off, on *contestant, ratios []float64) {
	r.Columns("events", "connections/s p50", "95 % interval", "CPU of tandem µs each p50")
	var bars []figure.Bar
	for _, c := range []*contestant{off, on} {
		interval := figure.MedianInterval(c.rates, 0.95)
		r.Row(c.name, fmt.Sprintf("%.0f", figure.Median(c.rates)), fmt.Sprintf("%.0f–%.0f", interval.Low, interval.High), fmt.Sprintf("%.0f", figure.Median(c.cpu)))
		bars = append(bars, figure.Bar{Name: "events " + c.name, Value: figure.Median(c.rates), Range: interval})
	}
	ratio, interval := figure.Median(ratios), figure.MedianInterval(ratios, 0.95)
	r.Judge(ratio >= 1-costLimit, "at most 3 % fewer connections per second with events", "%+.1f %%, 95 %% interval %+.1f to %+.1f %%, median of %d pairs",
		100*(ratio-1), 100*(interval.Low-1), 100*(interval.High-1), len(ratios))
	r.Plot("", figure.Bars(figure.Axes{Title: "New MPTCP connections with and without events", Y: "connections per second"}, bars...))
}
