// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/topology"
)

var errNoLab = errors.New("no network is up: tandem lab up builds one, and holds it")

func labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Networks on this machine for experiments",
		Long: `Lab builds networks out of network namespaces and emulated links. Nothing of the
machine's own network is touched. Presets: ` + strings.Join(topology.Presets(), ", ") + `.`,
	}
	cmd.AddCommand(labUpCommand(), labRunCommand(), labExecCommand(), labSetCommand(), labListCommand(), labCleanCommand(), labSelftestCommand())
	return cmd
}

func labUpCommand() *cobra.Command {
	var traces []string
	cmd := &cobra.Command{
		Use:   "up FILE|PRESET",
		Short: "Build a network and hold it until interrupted",
		Example: `  tandem lab up hybrid-home
  tandem lab up my-network.yaml --replay wifi.rate=wifi.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withNetwork(cmd.Context(), args[0], traces, func(ctx context.Context, n *topology.Network) error {
				fmt.Printf("lab %s is up, links are emulated; end it with Ctrl-C\n", n.ID())
				<-ctx.Done()
				return nil
			})
		},
	}
	traceFlag(cmd, &traces)
	return cmd
}

func labRunCommand() *cobra.Command {
	var host string
	var traces []string
	cmd := &cobra.Command{
		Use:     "run FILE|PRESET -- COMMAND...",
		Short:   "Run a command on a host of a network of its own",
		Example: "  tandem lab run two-path -- curl http://203.0.113.80/",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withNetwork(cmd.Context(), args[0], traces, func(ctx context.Context, n *topology.Network) error {
				h := n.Hosts[host]
				if h == nil {
					return fmt.Errorf("no host %q; choose one with --host", host)
				}
				p := h.Command(ctx, args[1], args[2:]...)
				p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, os.Stderr
				p.Env = append(os.Environ(), "TANDEM_LAB="+n.ID())
				return p.Run()
			})
		},
	}
	cmd.Flags().StringVar(&host, "host", "client", "the `host` that runs the command")
	traceFlag(cmd, &traces)
	return cmd
}

func traceFlag(cmd *cobra.Command, traces *[]string) {
	cmd.Flags().StringArrayVar(traces, "replay", nil, "`LINK.PROPERTY=CSV` with lines of seconds,value to replay")
}

// withNetwork builds a network, plays its script, takes changes for it while f
// runs, and takes it down.
func withNetwork(ctx context.Context, name string, traces []string, f func(context.Context, *topology.Network) error) (err error) {
	file, err := topology.Load(name)
	if err != nil {
		return err
	}
	steps := file.Script
	for _, t := range traces {
		more, err := readTrace(t)
		if err != nil {
			return err
		}
		steps = append(steps, more...)
	}
	n, err := file.Build("lab")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	control, err := n.Listen()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	aside := make(chan error, 2)
	for _, run := range []func() error{
		func() error { return n.Serve(ctx, control) },
		func() error { return n.Play(ctx, steps) },
	} {
		go func() {
			err := run()
			if err != nil {
				cancel()
			}
			aside <- err
		}()
	}
	err = f(ctx, n)
	cancel()
	for range cap(aside) {
		if e := <-aside; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func readTrace(flag string) ([]topology.Step, error) {
	key, name, ok := strings.Cut(flag, "=")
	if !ok {
		return nil, fmt.Errorf("--replay %q: want LINK.PROPERTY=CSV", flag)
	}
	trace, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer trace.Close()
	return topology.ReadTrace(trace, key)
}

func labExecCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:     "exec HOST COMMAND...",
		Short:   "Run a command on a host of a running network",
		Example: "  tandem lab exec cpe ip route",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := livingLab(id)
			if err != nil {
				return err
			}
			return lab.Exec(id, args[0], args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	labFlag(cmd, &id)
	return cmd
}

func labSetCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "set LINK.PROPERTY=VALUE...",
		Short: "Change links of a running network",
		Long: `Set changes rate, queue, delay, jitter, loss, burst, reorder or up of a link;
LINK.forth.PROPERTY and LINK.back.PROPERTY change one direction only.`,
		Example: "  tandem lab set wifi.delay=200ms cell.back.loss=2%",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := livingLab(id)
			if err != nil {
				return err
			}
			for _, setting := range args {
				if err := topology.Send(id, setting); err != nil {
					return err
				}
			}
			return nil
		},
	}
	labFlag(cmd, &id)
	return cmd
}

func labFlag(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "lab", "", "the `ID` of the network, if there are several")
}

// livingLab is the lab that is meant: the given one, or the only one that
// `tandem lab` owns.
func livingLab(id string) (string, error) {
	if id != "" {
		return id, nil
	}
	records, err := lab.List()
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range records {
		if !r.Orphaned && strings.HasPrefix(r.ID, "tdm-lab-") {
			ids = append(ids, r.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", errNoLab
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%d networks are up: choose one with --lab: %s", len(ids), strings.Join(ids, ", "))
}

func labListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the networks of this machine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			records, err := lab.List()
			for _, r := range records {
				state := "up"
				if r.Orphaned {
					state = "orphaned"
				}
				fmt.Printf("%s\t%s\t%s\n", r.ID, state, strings.Join(r.Hosts, " "))
			}
			return err
		},
	}
}

func labCleanCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed networks have left behind",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ids, err := topology.Clean(id)
			for _, id := range ids {
				fmt.Println("removed", id)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&id, "lab", "", "only the network with this `ID`")
	return cmd
}
