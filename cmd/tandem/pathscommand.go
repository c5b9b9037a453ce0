// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
)

func pathsCommand() *cobra.Command {
	var watch bool
	var asJSON *bool
	c := operator(&cobra.Command{
		Use:   "paths",
		Short: "List the subflows of MPTCP connections of the running tandem",
		Long: `Lists the MPTCP connections of both sides, with their subflows and the last ones
that ended, whoever manages them: addresses, interface, state and for how long it has
been so, round-trip time, bytes, and why each was opened and closed.`,
		Example: `  tandem paths
  tandem paths --watch`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		if watch {
			return watchPaths(cmd, c, *asJSON)
		}
		list, err := c.Paths(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printPaths(cmd.OutOrStdout(), list.Connections, time.Now())
	})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "print what happens to them, until interrupted")
	asJSON = jsonFlag(c)
	return c
}

// printPaths prints subflows for people, those of a connection below it.
func printPaths(w io.Writer, connections []admin.Paths, now time.Time) error {
	if len(connections) == 0 {
		_, err := fmt.Fprintln(w, "no MPTCP connections")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TOKEN\tLOCAL\tREMOTE\tVIA\tSTATE\tFOR\tRTT\tSENT\tRECEIVED\tWHY")
	for i := range connections {
		p := &connections[i]
		side := "accepted"
		if p.Initiator {
			side = "opened"
		}
		lost := ""
		if p.Lost != nil {
			lost = fmt.Sprintf(", no subflow for %s (%s)", ageText(now.Sub(*p.Lost).Seconds()), p.LostBy)
		}
		fmt.Fprintf(t, "%s\t%s %s ago, path manager %s%s\n", p.Token, side, ageText(now.Sub(p.Begun).Seconds()), p.Manager, lost)
		for _, list := range [][]admin.Subflow{p.Subflows, p.Past} {
			for j := range list {
				printSubflow(t, &list[j], now)
			}
		}
	}
	return t.Flush()
}

func printSubflow(w io.Writer, s *admin.Subflow, now time.Time) {
	fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
		s.Local, s.Remote, cmp.Or(s.Interface, "-"), subflowState(s), sinceText(s.Since, now),
		time.Duration(s.RTT*float64(time.Second)).Round(10*time.Microsecond), bytesText(s.Sent), bytesText(s.Received), why(s))
}

// sinceText is for how long something has been so, if that is known.
func sinceText(since *time.Time, now time.Time) string {
	if since == nil {
		return "-"
	}
	return ageText(now.Sub(*since).Seconds())
}

// why a subflow was opened, and closed if it was.
func why(s *admin.Subflow) string {
	text := s.Opened
	if s.Passive {
		text = "by peer"
	}
	if s.Closed != "" {
		text += "; " + s.Closed
	}
	if s.Error != "" {
		text += " (" + s.Error + ")"
	}
	return text
}

// watchPaths prints events until it is interrupted or tandem ends.
func watchPaths(cmd *cobra.Command, c *admin.Client, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	out := cmd.OutOrStdout()
	err := c.PathEvents(ctx, func() {
		if !asJSON {
			fmt.Fprintln(out, "watching; Ctrl-C ends it")
		}
	}, func(e *admin.PathEvent) error {
		if asJSON {
			return json.NewEncoder(out).Encode(e)
		}
		_, err := fmt.Fprintln(out, eventText(e))
		return err
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func eventText(e *admin.PathEvent) string {
	text := fmt.Sprintf("%s  %s  %-9s", e.Time.Local().Format("15:04:05.000"), e.Token, e.Event)
	switch {
	case e.Subflow != nil:
		text += fmt.Sprintf("  %s → %s  %s", e.Subflow.Local, e.Subflow.Remote, why(e.Subflow))
		if e.Subflow.Backup {
			text += "  backup"
		}
	case e.Remote != nil:
		text += "  " + e.Remote.String()
	case e.Cause != "":
		text += "  " + e.Cause
	}
	if e.Missed > 0 {
		text += fmt.Sprintf("  (%d before it were missed)", e.Missed)
	}
	return text
}
