// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

func connectionsCommand() *cobra.Command {
	var filter admin.Filter
	var order string
	var asJSON *bool
	var subflows bool
	c := operator(&cobra.Command{
		Use:   "connections",
		Short: "List the connections of the running tandem",
		Long: `Lists the connections that have not ended, with both legs: whether each uses
MPTCP, and if not, why; bytes delivered to the server (up) and to the client
(down) so far; for how long no byte has come or gone; and the options in force
that somebody has chosen. "tandem set TOKEN" says more of those. With --subflows,
also the subflows of both legs: path, round-trip time and bytes of each.`,
		Example: `  tandem connections --sort bytes --limit 10
  tandem connections --client 192.168.1.20 --subflows
  tandem connections --token b2b95ce6 --json`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		less, ok := orders[order]
		if !ok {
			return fmt.Errorf("--sort %s: want %s", order, strings.Join(orderNames, ", "))
		}
		if filter.Limit < 0 {
			return fmt.Errorf("--limit %d: want a number of connections", filter.Limit)
		}
		limit := filter.Limit
		if less != nil {
			filter.Limit = 0 // the largest are wanted, not any
		}
		show := printTable
		if *asJSON {
			show = printLines[admin.Connection]
		}
		if subflows {
			list, err := c.Paths(cmd.Context())
			if err != nil {
				return err
			}
			index := subflowIndexOf(list.Connections)
			if show = index.printTables; *asJSON {
				show = index.printLines
			}
		}
		return printList(cmd, show, less, limit, func(visit func(*admin.Connection) error) (bool, error) {
			return c.Connections(cmd.Context(), filter, visit)
		})
	})
	f := c.Flags()
	filterFlags(c, &filter)
	f.Var(tokenFlag{&filter.Token}, "token", "only the one with this MPTCP `token` (hexadecimal) on a leg")
	f.IntVar(&filter.Limit, "limit", 0, "at most this `number`, the largest with --sort; 0 is all")
	f.StringVar(&order, "sort", orderNames[0], "`order`: "+strings.Join(orderNames, ", ")+"; the largest last")
	f.BoolVar(&subflows, "subflows", false, "also list the subflows of both legs")
	asJSON = f.Bool("json", false, "print one JSON object per line and connection, as the interface has it")
	return c
}

// filterFlags are those that say which connections are meant.
func filterFlags(c *cobra.Command, filter *admin.Filter) {
	f := c.Flags()
	f.StringVar(&filter.Listener, "listener", "", "only those of the listener with this `name`")
	f.Var(prefixFlag{&filter.Client}, "client", "only those of clients in this `prefix`, or of this address")
	f.Var(prefixFlag{&filter.Server}, "server", "only those to servers in this `prefix`, or to this address")
	f.StringVar(&filter.User, "user", "", "only those of this `user` or subscriber")
	f.StringVar(&filter.Policy, "policy", "", "only those of subscribers with this `policy`")
}

// prefixFlag is a prefix or an address.
type prefixFlag struct{ *netip.Prefix }

func (p prefixFlag) Type() string { return "prefix" }

func (p prefixFlag) String() string {
	if p.Prefix == nil || !p.IsValid() {
		return ""
	}
	return p.Prefix.String()
}

func (p prefixFlag) Set(text string) (err error) {
	*p.Prefix, err = policy.ParsePrefix(text)
	return err
}

// tokenFlag is the token of a leg.
type tokenFlag struct{ *admin.Token }

func (t tokenFlag) Type() string { return "token" }

func (t tokenFlag) String() string {
	if t.Token == nil || *t.Token == 0 {
		return ""
	}
	return t.Token.String()
}

func (t tokenFlag) Set(text string) error { return t.UnmarshalText([]byte(text)) }

var orderNames = []string{"none", "id", "age", "idle", "up", "down", "bytes", "client", "listener"}

// orders of connections; none is that in which they come.
var orders = map[string]compare[admin.Connection]{
	"none":     nil,
	"id":       by(func(c *admin.Connection) uint64 { return c.ID }),
	"age":      by(func(c *admin.Connection) float64 { return c.Age }),
	"idle":     by(idle),
	"up":       by(func(c *admin.Connection) uint64 { return c.Up }),
	"down":     by(func(c *admin.Connection) uint64 { return c.Down }),
	"bytes":    by(func(c *admin.Connection) uint64 { return c.Up + c.Down }),
	"client":   func(a, b *admin.Connection) int { return a.Client.Address.Compare(b.Client.Address) },
	"listener": by(func(c *admin.Connection) string { return c.Listener }),
}

// idle puts those that are not relayed first.
func idle(c *admin.Connection) float64 {
	if c.Idle == nil {
		return math.Inf(-1)
	}
	return *c.Idle
}

// printTable prints connections for people.
func printTable(w io.Writer, connections walk[admin.Connection]) (more bool, err error) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPHASE\tLISTENER\tUSER\tCLIENT\tMPTCP\tSERVER\tVIA\tMPTCP\tAGE\tIDLE\tUP\tDOWN\tOPTIONS")
	more, err = connections(func(c *admin.Connection) error {
		_, err := fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			c.ID, c.Phase, c.Listener, cmp.Or(c.User, "-"), c.Client.Address, protocol(&c.Client),
			serverText(c), cmp.Or(c.Hop, "-"), protocol(c.Server),
			ageText(c.Age), idleText(c), bytesText(c.Up), bytesText(c.Down), optionsText(c))
		return err
	})
	if err != nil {
		return more, err
	}
	return more, t.Flush()
}

// protocol is the token of a leg, or why it is plain TCP.
func protocol(l *admin.Leg) string {
	switch {
	case l == nil:
		return "-"
	case l.MPTCP:
		return l.Token.String()
	}
	return cmp.Or(l.Reason, "-")
}

func serverText(c *admin.Connection) string {
	switch {
	case c.Host != "" && c.Server != nil && c.Server.Address.Addr().IsValid():
		return fmt.Sprintf("%s (%s)", c.Host, c.Server.Address)
	case c.Host != "":
		return c.Host
	case c.Server != nil:
		return c.Server.Address.String()
	}
	return "-"
}

func idleText(c *admin.Connection) string {
	if c.Idle == nil {
		return "-"
	}
	return ageText(*c.Idle)
}
