// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/plural"
)

// operator makes a command one that asks a running tandem.
func operator(c *cobra.Command, run func(cmd *cobra.Command, client *admin.Client, args []string) error) *cobra.Command {
	socket := c.Flags().String("socket", config.AdminSocket, "`path` of the socket of the running tandem (admin.socket)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client := admin.NewClient(*socket)
		defer client.Close()
		return run(cmd, client, args)
	}
	return c
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "print JSON, as the interface has it")
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

func kickCommand() *cobra.Command {
	return operator(&cobra.Command{
		Use:   "kick ID...",
		Short: "End connections of the running tandem",
		Long: `Ends connections with a reset on both legs. "tandem connections" shows their
IDs.`,
		Example: "  tandem kick 7 12",
		Args:    cobra.MinimumNArgs(1),
	}, func(cmd *cobra.Command, client *admin.Client, args []string) error {
		ids := make([]uint64, len(args))
		for i, arg := range args {
			var err error
			if ids[i], err = strconv.ParseUint(arg, 10, 64); err != nil {
				return fmt.Errorf("%q is no connection: want the ID that tandem connections shows, a number", arg)
			}
		}
		for _, id := range ids {
			if err := client.Kick(cmd.Context(), id); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "connection %d was ended\n", id)
		}
		return nil
	})
}

func reloadCommand() *cobra.Command {
	return operator(&cobra.Command{
		Use:   "reload",
		Short: "Have the running tandem read its configuration again",
		Long: `Has the running tandem read its configuration again, as SIGHUP does, without
dropping a connection. With mistakes in it, which are printed, nothing is
changed and the exit code is 1.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		done, err := client.Reload(cmd.Context())
		if err != nil {
			return err
		}
		for _, w := range done.Warnings {
			fmt.Fprintln(cmd.OutOrStdout(), "warning:", w)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "reloaded (listeners: %d, upstreams: %d)\n", done.Listeners, done.Upstreams)
		return nil
	})
}

func drainCommand() *cobra.Command {
	var timeout time.Duration
	c := operator(&cobra.Command{
		Use:   "drain",
		Short: "Have the running tandem end when its connections have ended",
		Long: `Has the running tandem accept no more connections and end when those that are
served have come to their end, as SIGTERM does. Asked again it gives them
another time. A signal ends them at once.`,
		Example: "  tandem drain --timeout 10m",
		Args:    cobra.NoArgs,
	}, func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		if timeout < 0 {
			return fmt.Errorf("--timeout %v: want more than 0s", timeout)
		}
		d, err := client.Drain(cmd.Context(), timeout)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "draining: %s may go on until %s\n", plural.Of(d.Active, "connection"), d.Until.Local().Format(time.DateTime))
		return nil
	})
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long connections may go on (default: drain-timeout of the configuration)")
	return c
}

func logLevelCommand() *cobra.Command {
	return operator(&cobra.Command{
		Use:       "log-level [LEVEL]",
		Short:     "Show or change what the running tandem logs",
		Long:      "Shows the least serious level that is logged (debug, info, warn or error), or\nchanges it until the next reload.",
		Example:   "  tandem log-level debug",
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []string{string(config.LogDebug), string(config.LogInfo), string(config.LogWarn), string(config.LogError)},
	}, func(cmd *cobra.Command, client *admin.Client, args []string) error {
		if len(args) == 1 {
			err := client.SetLogLevel(cmd.Context(), args[0])
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "logged from level %s on, until the next reload\n", args[0])
			}
			return err
		}
		level, err := client.LogLevel(cmd.Context())
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), level)
		}
		return err
	})
}
