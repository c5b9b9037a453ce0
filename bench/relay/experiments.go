// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/relay/reference"
)

// The arms of Tandem.
const (
	tandemForward = "tandem forward"
	tandemSOCKS5  = "tandem socks5"
)

// ours are the arms of Tandem with what they speak with clients.
var ours = []struct {
	name  string
	front peers.Front
}{{tandemForward, peers.Forward}, {tandemSOCKS5, peers.SOCKS5}}

// What all experiments have in common.
const (
	drawing = " client ==== MPTCP or TCP ==== relay ---- TCP ---- server\n\n          all over the loopback device of one namespace"
	common  = " Client, relay and server share the processors: a relay is never as fast as none. Each relay is a program of its own, with what makes it fastest for the load (see the last table); all run at once and are idle but for one. " +
		"CPU time is that of the relay's processes. Congestion control is reno: bbr, where it is the default, distorts MPTCP over loopback."
)

// spoken is what clients speak.
func spoken(mptcp bool) string {
	if mptcp {
		return "MPTCP"
	}
	return "TCP"
}

// Experiments in the order in which they run.
var Experiments = []experiment.Experiment{
	bulkExperiment(true), bulkExperiment(false), bulk8,
	connectionsExperiment(true), connectionsExperiment(false),
	{
		ID: "relay-latency", Title: "Latency of new connections under load",
		Question: "How long do new connections take through each relay while it has a part of the load that it can carry?",
		Setup: fmt.Sprintf("Open loop: connections arrive at times of a Poisson process, whether or not earlier ones have been answered; on each a request of 1 kB and an answer of 1 kB. Latency is from when a connection was due to the last byte of its answer. "+
			"First a closed loop with %d at a time finds out what each carries, in three rounds; then the load is %g of what Tandem's forward carries, the same for all, and %g of what each carries itself. Clients speak MPTCP.", parallel, sameShare, ownShare) + common,
		Drawing: drawing,
		Metrics: latencyMetrics(),
		Takes:   3 * time.Minute, Quick: 4 * time.Second,
		Run: latency,
	},
	idleExperiment(true), idleExperiment(false),
	telemetry,
}

// Children are the processes that experiments start of the program that runs
// them.
var Children = func() map[string]experiment.Child {
	all := maps.Clone(load.Children)
	maps.Copy(all, reference.Children)
	return all
}()

func bulkExperiment(mptcp bool) experiment.Experiment {
	parts := bulk(mptcp, 1)
	return experiment.Experiment{
		ID: map[bool]string{true: "relay-bulk-mptcp", false: "relay-bulk-tcp"}[mptcp], Title: "One transfer through each relay, over " + spoken(mptcp),
		Question: "Is one transfer, with " + spoken(mptcp) + " to the client, as fast through Tandem as through a bare io.Copy relay?",
		Setup:    "One connection at a time, for 0.3 s that do not count and 0.7 s that do, to the server and from it. Clients speak " + spoken(mptcp) + "." + common,
		Drawing:  drawing,
		Metrics:  rateMetrics(parts),
		Takes:    3*time.Minute + 20*time.Second, Quick: 3 * time.Second,
		Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
			return compare(ctx, e, r, e.Rounds(7, 1), parts, func(f *field) {
				for _, p := range parts {
					f.atLeast(p.name, tandemForward, peers.CopyName, 0.95, p.name+": "+tandemForward+" at least 0.95 of io.Copy")
				}
			})
		},
	}
}

var bulk8 = experiment.Experiment{
	ID: "relay-bulk8", Title: "Eight transfers at once through each relay",
	Question: "How fast are eight transfers at once through each relay, and what CPU time do they take?",
	Setup:    "Eight connections that begin together, for 0.3 s that do not count and 0.7 s that do, to the server and from it. Clients speak MPTCP." + common,
	Drawing:  drawing,
	Metrics:  rateMetrics(bulk(true, 8)),
	Takes:    2*time.Minute + 15*time.Second, Quick: 3 * time.Second,
	Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
		parts := bulk(true, 8)
		return compare(ctx, e, r, e.Rounds(5, 1), parts, func(f *field) {
			for _, p := range parts {
				f.atLeast(p.name, tandemForward, peers.DirectName, 0.85, p.name+": "+tandemForward+" at least 0.85 of no relay")
				f.atLeastBest(p.name, tandemForward, "", 1, p.name+": "+tandemForward+" at least as fast as the best of all others")
			}
		})
	},
}

func connectionsExperiment(mptcp bool) experiment.Experiment {
	parts := connections(mptcp)
	return experiment.Experiment{
		ID: map[bool]string{true: "relay-connections-mptcp", false: "relay-connections-tcp"}[mptcp], Title: "New connections through each relay, over " + spoken(mptcp),
		Question: "How many new connections per second does each relay carry, with " + spoken(mptcp) + " to the client, and what CPU time does each take?",
		Setup:    fmt.Sprintf("Closed loop: %d connections at a time, on each a request of 1 kB and an answer of 1 kB, for 0.7 s. Clients speak %s.", parallel, spoken(mptcp)) + common,
		Drawing:  drawing,
		Metrics:  rateMetrics(parts),
		Takes:    80 * time.Second, Quick: 2 * time.Second,
		Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
			return compare(ctx, e, r, e.Rounds(9, 1), parts, func(f *field) {
				f.atLeastBest(onlyRate, tandemForward, peers.Forward, 1, tandemForward+" at least level with the better of haproxy and nginx")
				f.atLeastBest(onlyRate, tandemSOCKS5, peers.SOCKS5, 1.3, tandemSOCKS5+" at least 1.3 times the best SOCKS5 peer")
			})
		},
	}
}

func idleExperiment(mptcp bool) experiment.Experiment {
	return experiment.Experiment{
		ID: map[bool]string{true: "relay-idle-mptcp", false: "relay-idle-tcp"}[mptcp], Title: "9,500 idle tunnels through each relay, over " + spoken(mptcp),
		Question: "What memory and descriptors does an idle tunnel take of each relay, with " + spoken(mptcp) + " to the client?",
		Setup: fmt.Sprintf("%d connections with an exchange of 1 kB on each, then nothing; then one more connection, then all close. Each relay is started anew for it and may have %d descriptors; it is looked at before, a second after the last exchange, and when all have gone. Memory is user memory, without pages of files, which processes share (Pss_Anon). Clients speak %s.", manyTunnels, descriptors, spoken(mptcp)) +
			" Congestion control is reno.",
		Drawing: drawing,
		Metrics: idleMetrics(),
		Takes:   2 * time.Minute, Quick: 4 * time.Second,
		Run: idle(mptcp),
	}
}

// compare measures parts with everybody, and has judge judge them.
func compare(ctx context.Context, e *experiment.Env, r *experiment.Result, rounds int, parts []part, judge func(*field)) (err error) {
	f, err := newField(ctx, e, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.rates(ctx, rounds, parts); err != nil {
		return err
	}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	f.ratios(names...)
	f.about(ctx)
	judge(f)
	for _, p := range parts {
		title := map[load.Workload]string{
			load.BulkUp: "Transfers to the server", load.BulkDown: "Transfers from the server", load.Connections: "New connections",
		}[p.workload]
		f.plot(p.name, title+", "+spoken(p.mptcp)+" to the client")
	}
	last := &parts[len(parts)-1]
	f.plot(last.metric(cpuMetric), "CPU time of the relay: "+last.name)
	return nil
}
