// SPDX-License-Identifier: Apache-2.0

// Command paths measures Tandem's path managers in network namespaces: which
// subflows exist over time, how fast a lost one is replaced, what becomes of
// connections that lose all of theirs, and what following connections costs.
// It prints a table for each experiment with what was asked, and saves plots as
// SVG and every sample as a line of JSON.
//
// It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

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
		fmt.Fprintln(os.Stderr, "paths:", err)
		os.Exit(1)
	}
}

// bench runs the benchmark.
func bench(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("paths", flag.ExitOnError)
	e := env{progress: os.Stderr}
	flags.StringVar(&e.tandem, "tandem", "bin/tandem", "tandem `program`")
	flags.BoolVar(&e.quick, "quick", false, "short forms, which show less")
	only := flags.String("only", "", "`ids` of experiments, comma-separated (default all)")
	flags.StringVar(&e.dir, "out", "bin/paths", "`directory` for plots and results.jsonl")
	flags.Parse(args)
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if e.tandem, err = filepath.Abs(e.tandem); err != nil {
		return err
	}
	if e.self, err = os.Executable(); err != nil {
		return err
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(e.dir, "results.jsonl"))
	if err != nil {
		return err
	}
	e.lines = f
	return errors.Join(runAll(ctx, &e, chosen, os.Stdout), f.Close())
}

// runAll runs experiments and writes what they have found.
func runAll(ctx context.Context, e *env, chosen []experiment, w io.Writer) error {
	m := report.ThisMachine(ctx)
	fmt.Fprintf(w, "%s, %d × %s, Linux %s, %s, commit %s\n\n", m.Time.Format("2006-01-02 15:04"), m.CPUs, m.CPU, m.Kernel, m.Go, m.Commit)
	var errs []error
	for _, x := range chosen {
		r := e.begin(x)
		r.record("machine", m)
		if err := x.run(ctx, e, r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", x.id, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if err := r.write(w); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", x.id, err))
		}
	}
	return errors.Join(errs...)
}
