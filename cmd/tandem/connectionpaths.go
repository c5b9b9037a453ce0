// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tandem-gateway/tandem/admin"
)

// subflowIndex are the subflows of connections by the token of the leg.
type subflowIndex map[admin.Token][]admin.Subflow

func subflowIndexOf(list []admin.Paths) subflowIndex {
	l := subflowIndex{}
	for i := range list {
		l[list[i].Token] = list[i].Subflows
	}
	return l
}

// of returns the subflows of a leg, which may have none.
func (l subflowIndex) of(leg *admin.Leg) []admin.Subflow {
	if leg == nil || !leg.MPTCP {
		return nil
	}
	return l[leg.Token]
}

// withPaths is a connection with the subflows of both legs, as JSON has it.
type withPaths struct {
	*admin.Connection
	Client []admin.Subflow `json:"client_subflows,omitempty"`
	Server []admin.Subflow `json:"server_subflows,omitempty"`
}

// printLines prints an object per line and connection.
func (l subflowIndex) printLines(w io.Writer, connections walk[admin.Connection]) (more bool, err error) {
	e := json.NewEncoder(w)
	return connections(func(c *admin.Connection) error {
		return e.Encode(withPaths{c, l.of(&c.Client), l.of(c.Server)})
	})
}

// printTables prints connections, and then their subflows.
func (l subflowIndex) printTables(w io.Writer, connections walk[admin.Connection]) (more bool, err error) {
	var seen []admin.Connection
	more, err = printTable(w, func(visit func(*admin.Connection) error) (bool, error) {
		return connections(func(c *admin.Connection) error {
			seen = append(seen, *c)
			return visit(c)
		})
	})
	if err != nil {
		return more, err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nID\tTOWARDS\tLOCAL\tREMOTE\tPATH\tSTATE\tRTT\tUP\tDOWN")
	for i := range seen {
		c := &seen[i]
		for _, s := range l.of(&c.Client) {
			printLegSubflow(t, c.ID, "client", &s, s.Received, s.Sent)
		}
		for _, s := range l.of(c.Server) {
			printLegSubflow(t, c.ID, "server", &s, s.Sent, s.Received)
		}
	}
	return more, t.Flush()
}

func printLegSubflow(w io.Writer, id uint64, towards string, s *admin.Subflow, up, down uint64) {
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", id, towards, s.Local, s.Remote,
		cmp.Or(s.Network, s.Interface, "-"), subflowState(s),
		time.Duration(s.RTT*float64(time.Second)).Round(10*time.Microsecond), bytesText(up), bytesText(down))
}

func subflowState(s *admin.Subflow) string {
	if s.Backup {
		return s.State + ", backup"
	}
	return s.State
}
