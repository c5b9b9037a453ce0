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
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
)

var atScaleByAPI = experiment.Experiment{
	ID:       "options-scale-api",
	Title:    "One option changed on each of 9,500 connections of a running tandem",
	Question: "How long does it take, and how much CPU of the gateway, to change an option of every live connection through the administrative API?",
	Setup: "9,500 idle MPTCP connections through tandem run on a host of its own, which forwards them to a server over TCP. An operator changes an option of all of them with one call, then with a call for each: one call after the other for 100 of the connections, 64 calls at a time for all. " +
		"A call returns when the option is in force.",
	Metrics: scaleMetrics,
	Takes:   time.Minute, Quick: 2 * time.Second,
	Run: measureScaleByAPI,
}

// callsAtOnce is how many calls an operator has under way.
const callsAtOnce = 64

// How long a change of all connections may take, with one call and with one for
// each of them.
const (
	oneCallTime   = 2 * time.Second
	manyCallsTime = 10 * time.Second
)

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
	o := apiOperator{client, measure.Group{PGID: gateway.Pid()}, ids}
	return o.measure(ctx, e, r)
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

// apiOperator changes options of the connections of a gateway.
type apiOperator struct {
	client  *admin.Client
	gateway measure.Group
	ids     []uint64
}

func (o *apiOperator) measure(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	limited := func(rate string) admin.OptionChange {
		return admin.OptionChange{Set: map[string]string{"subflow-rate-limit": rate}}
	}
	told := admin.OptionChange{Set: map[string]string{"user-timeout": "60s"}}
	takenBack := admin.OptionChange{Clear: []string{"subflow-rate-limit", "user-timeout"}}
	steps := []struct {
		what   string
		change admin.OptionChange
		atOnce int // calls; 0: one for all
		some   int // of the connections; 0: all
	}{
		{"one call: first option", limited("4Mbit"), 0, 0},
		{"one call: another rate", limited("8Mbit"), 0, 0},
		{"one call: user timeout", told, 0, 0},
		{"one call: taken back", takenBack, 0, 0},
		{"one by one", limited("4Mbit"), 1, single},
		{"64 calls: first option", limited("4Mbit"), callsAtOnce, 0},
		{"64 calls: another rate", limited("8Mbit"), callsAtOnce, 0},
		{"64 calls: user timeout", told, callsAtOnce, 0},
		{"64 calls: taken back", takenBack, callsAtOnce, 0},
	}
	var all []changed
	for i, x := range steps {
		some := o.ids
		if x.some > 0 {
			some = o.ids[:min(x.some, len(o.ids))]
		}
		took := changed{What: x.what, Connections: len(some)}
		before, err := o.gateway.CPU()
		if err != nil {
			return err
		}
		start := time.Now()
		if x.atOnce == 0 {
			err = o.chooseAll(ctx, x.change)
		} else {
			err = o.chooseEach(ctx, some, x.atOnce, x.change)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", x.what, err)
		}
		took.Elapsed = time.Since(start)
		after, err := o.gateway.CPU()
		if err != nil {
			return err
		}
		took.CPU = after - before
		all = append(all, took)
		e.Step(i+1, len(steps), "%s: %.2f s, %.2f s of CPU", x.what, took.Elapsed.Seconds(), took.CPU.Seconds())
		if x.some == 0 {
			limit := manyCallsTime
			if x.atOnce == 0 {
				limit = oneCallTime
			}
			r.Judge(took.Elapsed <= limit, fmt.Sprintf("%s: %d connections within %v", x.what, len(some), limit),
				"%.2f s, %.2f s of CPU", took.Elapsed.Seconds(), took.CPU.Seconds())
		}
	}
	showChanges(r, fmt.Sprintf("An option changed on %d connections through the API", len(o.ids)), all)
	return nil
}

// chooseAll changes options of all connections with one call, and looks whether
// they are in force on each.
func (o *apiOperator) chooseAll(ctx context.Context, change admin.OptionChange) error {
	done, err := o.client.ChooseAll(ctx, admin.Filter{}, true, false, change)
	if err == nil && (done.Changed != len(o.ids) || done.Matched != len(o.ids)) {
		err = fmt.Errorf("of %d connections: %+v", len(o.ids), done)
	}
	return err
}

// chooseEach makes a call for each connection, so many at a time.
func (o *apiOperator) chooseEach(ctx context.Context, ids []uint64, atOnce int, change admin.OptionChange) error {
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for _, id := range ids {
		calls.Go(func() error { return choose(ctx, o.client, id, change) })
	}
	return calls.Wait()
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
