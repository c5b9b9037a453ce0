// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/bench/capacity"
	"github.com/tandem-gateway/tandem/bench/capacity/curve"
	"github.com/tandem-gateway/tandem/bench/experiment"
)

// capacitySource says where costs come from; the zero value measures them.
type capacitySource struct {
	results, costs string
	busy           int
	run            experiment.Options
}

func benchCapacityCommand() *cobra.Command {
	a := capacity.Defaults()
	var from capacitySource
	var asJSON bool
	memory, reserved, link := a.Memory/1e9, a.Reserved/1e9, a.Link/1e9
	cmd := &cobra.Command{
		Use:   "capacity",
		Short: "Work out what a core, a machine and a region can serve",
		Long: `Capacity multiplies what a new connection, a gigabyte and an idle tunnel cost with
what subscribers do in the busiest hour. Costs are measured: in a short run now,
which needs root, or by the experiment ` + capacity.CurveID + ` before. What
subscribers do is an assumption, and every number of it has a flag.`,
		Example: "  tandem bench capacity --results bench-results --subscribers 200000 --mbit 8",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.Memory, a.Reserved, a.Link = memory*1e9, reserved*1e9, link*1e9
			// What cannot be is said before anything is measured.
			if err := a.Validate(); err != nil {
				return err
			}
			costs, err := from.read(cmd.Context())
			if err != nil {
				return err
			}
			plan, err := capacity.New(costs, a)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), plan)
			}
			return plan.Write(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&from.results, "results", "", "take costs of `directory` or file with results of "+capacity.CurveID)
	f.IntVar(&from.busy, "busy", 0, "of --results, take the cost of a gigabyte on this `number` of connections at once (default the most)")
	f.StringVar(&from.costs, "costs", "", "take costs of a `file` that --json has written")
	f.StringVar(&from.run.Tandem, "tandem", "", "the tandem `program` to measure (default this one)")
	f.BoolVar(&from.run.Quick, "quick", false, "measure in a few seconds, too short to be quoted")
	for _, other := range []string{"tandem", "quick"} {
		cmd.MarkFlagsMutuallyExclusive("results", "costs", other)
	}
	cmd.MarkFlagsMutuallyExclusive("busy", "costs")
	f.BoolVar(&asJSON, "json", false, "print JSON")

	f.Float64Var(&a.Subscribers, "subscribers", a.Subscribers, "`number` of subscribers of the region")
	f.Float64Var(&a.Active, "active", a.Active, "`share` of subscribers that carry data in the busiest hour, 0 to 1")
	f.Float64Var(&a.Mbit, "mbit", a.Mbit, "`Mbit/s` of an active subscriber on average over that hour, both directions together")
	f.Float64Var(&a.Connections, "connections", a.Connections, "`number` of new connections of an active subscriber in that hour")
	f.DurationVar(&a.Lifetime, "lifetime", a.Lifetime, "`duration` of such a connection")
	f.Float64Var(&a.Tunnels, "tunnels", a.Tunnels, "`number` of idle connections of every subscriber")
	f.DurationVar(&a.RoundTrip, "round-trip", a.RoundTrip, "round trip `time` to subscribers")
	f.Float64Var(&a.HeadRoom, "head-room", a.HeadRoom, "`share` of a machine that stays free, 0 to 1")
	f.Float64Var(&a.Cores, "cores", a.Cores, "`number` of cores of a machine")
	f.Float64Var(&memory, "memory", memory, "`GB` of memory of a machine")
	f.Float64Var(&reserved, "reserved", reserved, "`GB` of that for the rest of the system")
	f.Float64Var(&link, "link", link, "`Gbit/s` of a machine in each direction")
	return cmd
}

// read reads or measures costs.
func (s *capacitySource) read(ctx context.Context) (capacity.Costs, error) {
	switch {
	case s.costs != "":
		c, err := capacity.ReadCosts(s.costs)
		c.Origin = "as " + s.costs + " says: " + c.Origin
		return c, err
	case s.results != "":
		r, err := experiment.ReadResults(s.results)
		if err != nil {
			return capacity.Costs{}, err
		}
		return capacity.FromResults(r, "measured before, in "+s.results, s.busy)
	}
	return s.measure(ctx)
}

// measure measures costs in a short run.
func (s *capacitySource) measure(ctx context.Context) (_ capacity.Costs, err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "tandem-capacity-")
	if err != nil {
		return capacity.Costs{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := s.run
	o.Dir, o.Seed = dir, 1
	if err := prepareBench(&o); err != nil {
		return capacity.Costs{}, err
	}
	if err := experiment.Run(ctx, o, []experiment.Experiment{curve.Brief()}); err != nil {
		return capacity.Costs{}, fmt.Errorf("measure costs, or give --results or --costs: %w", err)
	}
	r, err := experiment.ReadResults(dir)
	if err != nil {
		return capacity.Costs{}, err
	}
	return capacity.FromResults(r, "measured now", 0)
}
