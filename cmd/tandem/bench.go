// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/page"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/suite"
)

// benchDir is where results go unless something else is said.
const benchDir = "bench-results"

// reportFile is the page beside the results.
const reportFile = "report.html"

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure on this machine what Tandem does",
		Long: `Bench runs experiments in networks made of network namespaces: Tandem beside what
it replaces and beside its peers. Nothing of the machine's own network is
touched. Results are lines of JSON, plots, text and an HTML page.`,
	}
	cmd.AddCommand(benchListCommand(), benchRunCommand(), benchCompareCommand(), benchReportCommand(), benchCapacityCommand(), benchChildCommand())
	return cmd
}

func benchListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the experiments",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tTAKES\tQUICK\tTITLE")
			for _, x := range suite.Experiments() {
				fmt.Fprintf(t, "%s\t%v\t%v\t%s\n", x.ID, x.Takes.Round(time.Second), x.Quick.Round(time.Second), x.Title)
			}
			return t.Flush()
		},
	}
}

var errWhichExperiments = errors.New("name experiments, see tandem bench list, or give --all")

func benchRunCommand() *cobra.Command {
	var o experiment.Options
	var all bool
	var cells string
	cmd := &cobra.Command{
		Use:   "run ID...",
		Short: "Run experiments",
		Long: `Run runs experiments, which are named by their ID or by its beginning up to a
hyphen. It needs root. One that cannot run says why and counts as failed.`,
		Example: `  tandem bench run options-weighted paths --out results
  tandem bench run --all --quick`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return errWhichExperiments
			}
			if cells != "" {
				var err error
				if o.Cells, err = regexp.Compile(cells); err != nil {
					return fmt.Errorf("--cells: %w", err)
				}
			}
			return runBench(cmd.Context(), o, ids)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "run all experiments")
	flags.BoolVar(&o.Quick, "quick", false, "short forms, which show that everything works and little of how well")
	flags.Uint64Var(&o.Seed, "seed", 1, "`seed` of everything that is drawn at random")
	flags.StringVar(&o.Dir, "out", benchDir, "`directory` for results")
	flags.StringVar(&o.Tandem, "tandem", "", "the tandem `program` to measure (default this one)")
	flags.IntVar(&o.Repeat, "repeat", 0, "`number` of repetitions of what is repeated (default what each experiment needs)")
	flags.StringSliceVar(&o.Relays, "relays", nil, "`names` of other relays to compare with, such as haproxy,xray (default all)")
	flags.StringVar(&cells, "cells", "", "of a grid, only the cells whose names match a regular `expression`, such as '1:50 rate' (default all)")
	return cmd
}

func runBench(ctx context.Context, o experiment.Options, ids []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := experiment.Choose(suite.Experiments(), ids)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return lab.ErrNeedsRoot // said once rather than by each of them
	}
	if err := prepareBench(&o); err != nil {
		return err
	}
	o.Text = os.Stdout
	err = experiment.Run(ctx, o, chosen)
	if err != nil && !errors.Is(err, experiment.ErrFailed) {
		return err
	}
	// Failures are part of the report.
	file := filepath.Join(o.Dir, reportFile)
	if err := writeBenchReport(o.Dir, file); err != nil {
		return err
	}
	fmt.Printf("The report is %s\n", file)
	return err
}

// prepareBench says which programs run, and where progress is told.
func prepareBench(o *experiment.Options) (err error) {
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	if o.Tandem == "" {
		o.Tandem = o.Self
	}
	o.Progress, o.Terminal = os.Stderr, term.IsTerminal(int(os.Stderr.Fd()))
	o.Tandem, err = filepath.Abs(o.Tandem)
	return err
}

func writeBenchReport(dir, file string) error {
	results, err := experiment.ReadResults(dir)
	if err != nil {
		return err
	}
	return page.WriteFile(file, results)
}

func benchCompareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Tell what has changed from one run to another",
		Long: `Compare sets the medians of two runs beside each other, with confidence intervals
of their ratios, and says where a difference is within noise. OLD and NEW are
directories of results, or their results.jsonl.`,
		Example: "  tandem bench compare results-before results-now",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := experiment.ReadResults(args[0])
			if err != nil {
				return err
			}
			now, err := experiment.ReadResults(args[1])
			if err != nil {
				return err
			}
			return experiment.WriteComparison(cmd.OutOrStdout(), before, now)
		},
	}
}

func benchReportCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "report [DIRECTORY]",
		Short: "Make an HTML page of results",
		Long: `Report writes one page with everything in it: questions, set-ups, plots, tables
and verdicts. Run does so too when it ends.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := benchDir
			if len(args) > 0 {
				dir = args[0]
			}
			if file == "" {
				file = filepath.Join(dir, reportFile)
			}
			if err := writeBenchReport(dir, file); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The report is %s\n", file)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write (default report.html beside the results)")
	return cmd
}

// benchChildCommand is for processes that experiments start of this program.
func benchChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "child NAME [ARGUMENT...]",
		Short:              "A process of an experiment",
		Hidden:             true,
		Args:               cobra.MinimumNArgs(1),
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return experiment.RunChild(ctx, suite.Children(), args[0], args[1:])
		},
	}
}
