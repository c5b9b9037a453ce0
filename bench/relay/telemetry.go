// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// The arms that tell nothing, and all they can.
const (
	withoutTelemetry = "without"
	withTelemetry    = "with"
)

// telemetryParts are what may become slower.
var telemetryParts = []part{
	{load.Connections, true, parallel, "connections, MPTCP"},
	{load.Connections, false, parallel, "connections, TCP"},
	{load.BulkUp, true, 8, "up"},
	{load.BulkDown, true, 8, "down"},
}

var telemetry = experiment.Experiment{
	ID: "relay-telemetry", Title: "What telemetry and records cost",
	Question: "How much slower is Tandem when it tells all it can of what it does?",
	Setup: "Tandem's forward with metrics over OTLP each second, 1 % of connections traced, and records in a file, beside Tandem without any of it, in turns: " +
		"new connections, 64 at a time, with a request and an answer of 1 kB; eight transfers at once with MPTCP. Both run all the time. Over the loopback device of one namespace; client, relay and server share the processors; reno.",
	Drawing: drawing,
	Metrics: rateMetrics(telemetryParts),
	Takes:   80 * time.Second, Quick: 3 * time.Second,
	Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
		silent, telling := peers.Telling(tools(e))
		f := &field{r: r, port: firstRelayPort}
		f.add(withoutTelemetry, &silent)
		f.add(withTelemetry, &telling)
		if err := f.open(ctx, e); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		if err := f.rates(ctx, e.Rounds(9, 1), telemetryParts); err != nil {
			return err
		}
		r.NextTable("With beside without: median of the ratios of each round")
		r.Columns("", "rate", "CPU")
		for _, p := range telemetryParts {
			r.Row(p.name, r.Compare(p.name, withTelemetry, withoutTelemetry).String(), r.Compare(p.metric(cpuMetric), withTelemetry, withoutTelemetry).String())
		}
		f.about(ctx)
		for _, p := range telemetryParts {
			f.atLeast(p.name, withTelemetry, withoutTelemetry, 0.99, p.name+": at least 0.99 of what it is without")
			f.plot(p.name, p.name+", with telemetry and without")
		}
		return nil
	},
}
