// SPDX-License-Identifier: Apache-2.0

// Command relay measures Tandem beside other relays: bulk transfers, new
// connections, idle tunnels, with MPTCP and with plain TCP towards the client.
// All of them run in one network namespace, over its loopback device, in turns
// (A B C A B C …), beside a transfer without any relay and a bare io.Copy
// relay. It prints medians with their spread, ratios, what the relay costs,
// and whether the targets are met.
//
// It needs root. What is not installed is left out, and the table says so.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := bench
	if len(os.Args) > 1 {
		if child := children[os.Args[1]]; child != nil {
			run = func(ctx context.Context, args []string) error { return child(ctx, args[1:]) }
		}
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

var errNoTandem = errors.New("-telemetry needs -tandem")

// bench runs the whole benchmark.
func bench(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	var o options
	flags.IntVar(&o.runs, "runs", 0, "repetitions of every cell (default 5, with -quick 3)")
	flags.DurationVar(&o.cell, "cell", 0, "`duration` of one repetition (default 1s, with -quick 300ms)")
	flags.IntVar(&o.tunnels, "tunnels", 9500, "idle tunnels")
	flags.StringVar(&o.congestion, "congestion", "reno", "congestion `control` in the namespace")
	quick := flags.Bool("quick", false, "short form")
	peerNames := flags.String("peers", "", "`names` of peers to run, comma-separated; direct and io.Copy always run (default all)")
	scenarioNames := flags.String("scenario", "", "`names` of scenarios to run, or beginnings of them, comma-separated (default all)")
	telling := flags.Bool("telemetry", false, "only Tandem, with telemetry and records and without: what those cost (needs -tandem)")
	jsonFile := flags.String("json", "", "`file` for every repetition as a line of JSON")
	var tools peers.Tools
	flags.StringVar(&tools.Tandem, "tandem", "", "tandem `program`; without it the engine runs within this program")
	flags.StringVar(&tools.Dir, "go-peers", "bin/peers", "`directory` with sing-box, xray and armon, see bench/peers/build")
	flags.StringVar(&tools.Profile, "profile", "", "`file` for a CPU profile of the engine (without -tandem)")
	flags.Parse(args)
	size := options{runs: 5, cell: time.Second}
	if *quick {
		size = options{runs: 3, cell: 300 * time.Millisecond}
	}
	o.runs, o.cell = cmp.Or(o.runs, size.runs), cmp.Or(o.cell, size.cell)
	o.warmUp, o.settle, o.giveBack = o.cell/2, time.Second, 5*time.Second
	if err := absolute(&tools.Tandem, &tools.Dir, &tools.Profile); err != nil {
		return err
	}
	var err error
	if tools.Self, err = os.Executable(); err != nil {
		return err
	}
	all := peers.All(tools)
	if *telling {
		if tools.Tandem == "" {
			return errNoTandem
		}
		all, *peerNames = append(all, peers.Told(tools)), peers.TandemName+","+peers.ToldName
		all = slices.DeleteFunc(all, func(p peers.Peer) bool { return p.Name == peers.CopyName || p.Front == peers.SOCKS5 })
	}
	if o.peers, err = choosePeers(all, *peerNames); err != nil {
		return err
	}
	if o.scenarios, err = chooseScenarios(*scenarioNames); err != nil {
		return err
	}
	o.self = tools.Self
	o.progress = os.Stderr
	lines := []report.Sink{}
	if *jsonFile != "" {
		f, err := os.Create(*jsonFile)
		if err != nil {
			return err
		}
		defer f.Close()
		lines = append(lines, report.JSONLines(f))
	}
	machine := experiment.ThisMachine(ctx)
	machine.Congestion = o.congestion
	results := report.New(machine, lines...)
	// What was measured until an error or Ctrl-C is shown all the same.
	err = measureAll(ctx, o, results)
	results.Write(os.Stdout, o.about())
	return errors.Join(err, results.Err())
}

// absolute makes paths independent of the working directory.
func absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// choosePeers keeps the peers with the given names and the references.
func choosePeers(all []peers.Peer, names string) ([]peers.Peer, error) {
	if names == "" {
		return all, nil
	}
	var chosen []peers.Peer
	wanted := map[string]bool{peers.DirectName: true, peers.CopyName: true}
	for name := range strings.SplitSeq(names, ",") {
		wanted[strings.TrimSpace(name)] = true
	}
	for _, p := range all {
		if wanted[p.Name] {
			chosen = append(chosen, p)
		}
	}
	for _, p := range all {
		delete(wanted, p.Name)
	}
	delete(wanted, peers.CopyName) // it is no mistake to leave the reference out
	for name := range wanted {
		return nil, fmt.Errorf("no peer is named %q", name)
	}
	return chosen, nil
}
