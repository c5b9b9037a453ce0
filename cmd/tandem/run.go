// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/config"
)

func runCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or SIGINT, which let the connections that are
served come to their end (drain-timeout); a second one ends them at once.
SIGHUP reads the configuration again without dropping a connection; mistakes in
it are logged and nothing is changed.

Without a configuration file it serves SOCKS5 and the Convert protocol to this
machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, file) },
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	return c
}

// load reads the configuration file, or the embedded one if there is none.
func load(file string) (*config.Config, error) {
	if file == "" {
		return config.Default(), nil
	}
	return config.Load(file)
}

func run(cmd *cobra.Command, file string) error {
	// Before anything else: a signal must not find the program half started.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	c, err := load(file)
	if err != nil {
		return err
	}
	logs := newLogs(os.Stderr, c.Log)
	slog.SetDefault(logs.logger)
	g, err := startGateway(c, file, logs)
	if err != nil {
		return err
	}
	g.banner(cmd.OutOrStdout())
	g.admin.serve(g)
	timeout := g.untilTheEnd(signals)
	ctx, end := context.WithCancel(cmd.Context())
	defer end()
	go func() {
		late := time.NewTimer(timeout)
		defer late.Stop()
		for {
			select {
			case sig := <-signals:
				if sig != syscall.SIGHUP {
					end()
				}
			case d := <-g.admin.drains:
				late.Reset(d)
			case <-late.C:
				end()
			case <-ctx.Done():
				return
			}
		}
	}()
	g.stop(ctx, timeout)
	return nil
}

// untilTheEnd serves signals until somebody wants an end, and returns how long
// connections may go on.
func (g *gateway) untilTheEnd(signals <-chan os.Signal) time.Duration {
	for {
		select {
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return g.drainTimeout()
			}
			_, _ = g.reload() // has logged how it went
		case d := <-g.admin.drains:
			return d
		}
	}
}
