// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/plural"
)

func statusCommand() *cobra.Command {
	var asJSON *bool
	c := operator(&cobra.Command{
		Use:   "status",
		Short: "Show what the running tandem is and has done",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		s, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return printStatus(cmd.OutOrStdout(), &s, time.Now())
	})
	asJSON = jsonFlag(c)
	return c
}

func printStatus(w io.Writer, s *admin.Status, now time.Time) error {
	fmt.Fprintf(w, "tandem %s (linux %s): %s for %s, pid %d\n", s.Version, s.Kernel.Release, s.State, ageText(s.Uptime), s.PID)
	line := func(name, value string) { fmt.Fprintf(w, "  %-14s %s\n", name, value) }
	line("MPTCP", s.Kernel.MPTCP.Detail)
	line("TCP Fast Open", s.Kernel.FastOpen.Detail)
	line("eBPF", s.Kernel.EBPF.Detail)
	line("open files", plural.Digits(s.Kernel.OpenFiles))
	c := &s.Connections
	line("connections", fmt.Sprintf("%s active, %s accepted (%s with MPTCP), %s served",
		plural.Digits(c.Active), plural.Digits(c.Accepted), plural.Digits(c.ClientMPTCP), plural.Digits(c.Relayed)))
	line("refused", byReason(c.Refused))
	line("fallbacks", byReason(c.Fallbacks))
	line("delivered", bytesText(c.Up)+" up, "+bytesText(c.Down)+" down")
	if len(s.Options) > 0 || s.OptionsIgnored > 0 {
		line("options", optionCounts(s))
	}
	for _, n := range s.Networks {
		line("  over "+n.Name, bytesText(n.Up)+" up, "+bytesText(n.Down)+" down")
	}
	printSubscriberCounters(line, s.Subscribers)
	printPathCounters(line, s.Paths)
	printHeldJoins(line, s.HeldJoins)

	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nLISTENER\tTYPE\tADDRESS\tMPTCP\tUPSTREAM")
	for _, l := range s.Listeners {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Type, l.Address, yesOr(l.MPTCP, l.Reason), l.Upstream)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nUPSTREAM\tTYPE\tHOP\tSTATE\tSINCE\tCHECKED\tLAST FAILURE")
	for _, u := range s.Upstreams {
		for _, h := range u.Hops {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Type, h.Name, upOrDown(h.Up),
				ageText(now.Sub(h.Since).Seconds()), checked(&h, now), cmp.Or(h.Error, "-"))
		}
		if len(u.Hops) == 0 {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t-\n", u.Name, u.Type)
		}
	}
	return t.Flush()
}

// byReason is the sum of counters and what it is made of, most first.
func byReason(counters map[string]uint64) string {
	var sum uint64
	var parts []string
	reasons := slices.SortedFunc(maps.Keys(counters), func(a, b string) int {
		return cmp.Or(cmp.Compare(counters[b], counters[a]), cmp.Compare(a, b))
	})
	for _, r := range reasons {
		sum += counters[r]
		parts = append(parts, r+" "+plural.Digits(counters[r]))
	}
	if sum == 0 {
		return "none"
	}
	return plural.Digits(sum) + ": " + strings.Join(parts, ", ")
}

// optionCounts is what clients asked for, by option.
func optionCounts(s *admin.Status) string {
	var parts []string
	for _, o := range s.Options {
		parts = append(parts, o.Option+" "+byReason(o.Outcomes))
	}
	if s.OptionsIgnored > 0 {
		parts = append(parts, plural.Digits(s.OptionsIgnored)+" ignored")
	}
	return strings.Join(parts, "; ")
}

func upOrDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// yesOr is "yes", or the reason why not.
func yesOr(yes bool, reason string) string {
	if yes {
		return "yes"
	}
	return cmp.Or(reason, "no")
}

func checked(h *admin.Hop, now time.Time) string {
	if h.Checked == nil {
		return "never"
	}
	took := time.Duration(h.Took * float64(time.Second))
	return fmt.Sprintf("%s ago, took %v", ageText(now.Sub(*h.Checked).Seconds()), took.Round(10*time.Microsecond))
}
