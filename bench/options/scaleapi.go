// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
)

var atScaleByAPI = experiment.Experiment{
	ID:       "options-scale-api",
	Title:    "One option changed on each of 9,500 connections of a running tandem",
	Question: "How long does it take, and how much CPU of the gateway, to change an option of every live connection through the administrative API?",
	Setup: "9,500 idle MPTCP connections through tandem run on a host of its own, which forwards them to a server over TCP; an operator changes an option of each with a call of its own, as there is none for several: one call after the other for 100 of the connections, 64 calls at a time for all. " +
		"A call returns when the option is in force.",
	Metrics: []experiment.Metric{
		{Name: "connections"},
		{Name: "time", Unit: "s", Better: experiment.Lower},
		{Name: "CPU", Unit: "s", Better: experiment.Lower},
		{Name: "each", Unit: "µs", Better: experiment.Lower},
	},
	Takes: time.Minute, Quick: 2 * time.Second,
	Run: measureScaleByAPI,
}

// callsAtOnce is how many calls an operator has under way.
const callsAtOnce = 64

// apiChangeTime is how long a change of all connections may take with many
// calls at a time.
const apiChangeTime = 10 * time.Second

func measureScaleByAPI(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	n := manyConnections
	if e.Quick {
		n = 200
	}
	l, err := lab.New("scale")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ends, err := manyPorts(l, "ends")
	if err != nil {
		return err
	}
	h, err := manyPorts(l, "gateway")
	if err != nil {
		return err
	}
	if _, err := l.Link(ends, h, "eth0", "eth0", prefixes(scaleServer), prefixes(scaleGateway), lab.LinkSpec{}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tandem-") // paths of sockets have to be short
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := startWorker(ctx, ends, e, scaleEndsChild, fmt.Sprint(n))
	if err != nil {
		return err
	}
	defer w.stop()
	socket := filepath.Join(dir, "admin.sock")
	gateway, err := apps.StartTandem(ctx, h, apps.TandemConfig{Command: []string{e.Tandem}, Dir: dir, Config: gatewayConfig(socket)})
	if err != nil {
		return err
	}
	defer gateway.Stop()
	var opened time.Duration
	if err := w.call(time.Duration(0), &opened); err != nil {
		return fmt.Errorf("open %d connections: %w:\n%s", n, err, gateway.Log)
	}
	r.Note("opening the %d connections took %.1f s", n, opened.Seconds())
	client := admin.NewClient(socket)
	defer client.Close()
	var ids []uint64
	if _, err := client.Connections(ctx, admin.Filter{}, func(c *admin.Connection) error {
		ids = append(ids, c.ID)
		return nil
	}); err != nil {
		return err
	}
	if len(ids) != n {
		return fmt.Errorf("tandem has %d connections, not %d", len(ids), n)
	}
	return changeByAPI(ctx, e, r, client, measure.Group{PGID: gateway.Pid()}, ids)
}

// manyPorts makes a host with ports for all connections.
func manyPorts(l *lab.Lab, name string) (*lab.Host, error) {
	h, err := l.Host(name)
	if err != nil {
		return nil, err
	}
	for key, value := range map[string]string{
		"net.ipv4.tcp_congestion_control": "reno",
		"net.ipv4.ip_local_port_range":    "10000 65535",
	} {
		if err := h.Sysctl(key, value); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// prefixes are the addresses of a host whose network has 256.
func prefixes(of netip.AddrPort) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(of.Addr(), 24)}
}

func changeByAPI(ctx context.Context, e *experiment.Env, r *experiment.Result, client *admin.Client, gateway measure.Group, ids []uint64) error {
	limited := func(rate string) admin.OptionChange {
		return admin.OptionChange{Set: map[string]string{"subflow-rate-limit": rate}}
	}
	var bars []figure.Bar
	changes := []struct {
		what   string
		change admin.OptionChange
		atOnce int
		some   int // of the connections; 0: all
	}{
		{"one by one", limited("4Mbit"), 1, single},
		{"first option", limited("4Mbit"), callsAtOnce, 0},
		{"another rate", limited("8Mbit"), callsAtOnce, 0},
		{"user timeout", admin.OptionChange{Set: map[string]string{"user-timeout": "60s"}}, callsAtOnce, 0},
		{"taken back", admin.OptionChange{Clear: []string{"subflow-rate-limit", "user-timeout"}}, callsAtOnce, 0},
	}
	for i, x := range changes {
		some := ids
		if x.some > 0 {
			some = ids[:min(x.some, len(ids))]
		}
		before, err := gateway.CPU()
		if err != nil {
			return err
		}
		start := time.Now()
		calls, ctx := errgroup.WithContext(ctx)
		calls.SetLimit(x.atOnce)
		for _, id := range some {
			calls.Go(func() error { return choose(ctx, client, id, x.change) })
		}
		if err := calls.Wait(); err != nil {
			return fmt.Errorf("%s: %w", x.what, err)
		}
		elapsed := time.Since(start)
		after, err := gateway.CPU()
		if err != nil {
			return err
		}
		each := float64(elapsed.Nanoseconds()) / 1e3 / float64(len(some))
		r.Add(x.what, 0, experiment.Measured{
			"connections": float64(len(some)), "time": elapsed.Seconds(), "CPU": (after - before).Seconds(), "each": each,
		})
		e.Step(i+1, len(changes), "%s: %.2f s, %.2f s of CPU", x.what, elapsed.Seconds(), (after - before).Seconds())
		if x.some == 0 {
			r.Judge(elapsed <= apiChangeTime, fmt.Sprintf("%s: %d connections within %v", x.what, len(some), apiChangeTime),
				"%.2f s, %.2f s of CPU", elapsed.Seconds(), (after - before).Seconds())
		}
		bars = append(bars, figure.Bar{Name: x.what, Value: each})
	}
	r.Summary()
	r.Plot("", figure.Bars(figure.Axes{Title: fmt.Sprintf("An option changed on %d connections through the API", len(ids)), Y: "µs for each connection"}, bars...))
	return nil
}

// choose changes an option of a connection, and looks whether it is in force.
func choose(ctx context.Context, client *admin.Client, id uint64, change admin.OptionChange) error {
	now, err := client.Choose(ctx, id, change)
	if err != nil {
		return err
	}
	for name := range change.Set {
		if o := now.Of(name); o == nil || o.Why != "as asked" {
			return fmt.Errorf("%s of connection %d is not in force: %+v", name, id, o)
		}
	}
	return nil
}

// gatewayConfig is of a gateway that forwards to the child.
func gatewayConfig(socket string) string {
	return fmt.Sprintf(`log: {level: warn}
drain-timeout: 0s
admin: {socket: %q}
listeners:
  - name: scale
    type: forward
    listen: ["%s"]
    mptcp: require
    allow-from: [10.0.0.0/24]
    forward: {target: "%s"}
    options: {accept: [tcp-option]}
`, socket, scaleGateway, scaleServer)
}
