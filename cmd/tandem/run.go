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
	"github.com/tandem-gateway/tandem/handover"
	"github.com/tandem-gateway/tandem/systemd"
)

func runCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or SIGINT, which let the connections that are
served come to their end (drain-timeout); a second one ends them at once.
SIGHUP reads the configuration again without dropping a connection; mistakes in
it are logged and nothing is changed. SIGUSR2 starts the program that is
installed now, which takes over; the connections that are served stay with this
one until they end (upgrade-drain-timeout).

Without a configuration file it serves SOCKS5 and the Convert protocol to this
machine.`,
		Example: `  tandem run
  tandem run --config /etc/tandem/cpe.yaml`,
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
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	// Who reads the log may end before this process does, or with a predecessor.
	signal.Ignore(syscall.SIGPIPE)
	predecessor, err := handover.Inherited()
	if err != nil {
		return err
	}
	var left *estate
	var sockets []int
	if predecessor != nil {
		left, err = inherited(predecessor)
	} else {
		sockets, err = systemd.Sockets()
	}
	if err != nil {
		return err
	}

	c, err := load(file)
	if err != nil {
		return err
	}
	logs := newLogs(os.Stderr, c.Log)
	slog.SetDefault(logs.logger)
	if len(sockets) > 0 {
		if left, err = activated(sockets, c, logs.logger); err != nil {
			return err
		}
	}
	g, err := startGateway(c, file, logs, left)
	if err != nil {
		return err
	}
	g.banner(cmd.OutOrStdout())
	if predecessor != nil {
		g.succeed(predecessor)
	} else {
		g.admin.serve(g)
	}
	g.manager.begin(g)
	defer g.manager.end()
	timeout := g.untilTheEnd(signals)
	if g.succeededBy() == 0 {
		g.manager.stopping(g)
	}
	ctx, end := context.WithCancel(cmd.Context())
	defer end()
	go g.heed(ctx, signals, timeout, end)
	g.stop(ctx, timeout)
	return nil
}

// heed calls end when connections have had their time, or somebody does not want
// to wait for them any longer; until ctx ends.
func (g *gateway) heed(ctx context.Context, signals <-chan os.Signal, timeout time.Duration, end func()) {
	late := time.NewTimer(timeout)
	defer late.Stop()
	ordered := false
	for {
		select {
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP || sig == syscall.SIGUSR2:
				g.forward(sig.(syscall.Signal))
			case g.succeededBy() != 0 && !ordered:
				ordered = true // until now nobody wanted an end
				late.Reset(g.drainTimeout())
			default:
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
}

// untilTheEnd serves signals until somebody wants an end, and returns how long
// connections may go on.
func (g *gateway) untilTheEnd(signals <-chan os.Signal) time.Duration {
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				_, _, _ = g.reload() // has logged how it went
			case syscall.SIGUSR2:
				if _, err := g.upgrade(); err == nil {
					return g.upgradeTimeout()
				}
			default:
				return g.drainTimeout()
			}
		case d := <-g.admin.drains:
			return d
		}
	}
}
