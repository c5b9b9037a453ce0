// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
)

func explainCommand() *cobra.Command {
	var q admin.Question
	var asJSON *bool
	c := operator(&cobra.Command{
		Use:   "explain SOURCE DESTINATION PORT",
		Short: "Say what would happen to a connection, and which rule says so",
		Long: `Says what the running tandem would do with a connection from SOURCE, an address,
to DESTINATION, an address or a name, at PORT: which listener would get it, who
it would belong to, and whether it would be served; by which upstream, with
which options and path managers. Each decision names the rule that made it. It
is what is in force now that is asked: limits as far as they are used up, and
hops that are down. Nothing is connected to and nothing is counted; names are
looked up.`,
		Example: `  tandem explain 192.168.1.20 www.example.com 443
  tandem explain 198.51.100.7 203.0.113.9 25 --listener phones --user ada`,
		Args: cobra.RangeArgs(2, 3),
	}, func(cmd *cobra.Command, client *admin.Client, args []string) error {
		if err := readQuestion(&q, args); err != nil {
			return err
		}
		x, err := client.Explain(cmd.Context(), q)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), x)
		}
		return printExplanation(cmd.OutOrStdout(), &x)
	})
	f := c.Flags()
	f.StringVar(&q.Listener, "listener", "", "only what the listener with this `name` would do")
	f.StringVar(&q.User, "user", "", "the `user` that the client has shown itself to be")
	f.StringVar(&q.Options, "options", "", "`options` that the client asks for, such as \"scheduler=primary;subflow-rate-limit=4Mbit\"")
	f.StringVar(&q.Interface, "interface", "", "`name` of the network interface that the client's packets arrive on; the one that leads back to it if not given")
	asJSON = jsonFlag(c)
	return c
}

// readQuestion takes the destination with its port as one argument too.
func readQuestion(q *admin.Question, args []string) (err error) {
	if q.Source, err = netip.ParseAddr(args[0]); err != nil {
		return fmt.Errorf("%q is no source: want the address of a client", args[0])
	}
	port := ""
	if q.Destination = args[1]; len(args) == 3 {
		port = args[2]
	} else if q.Destination, port, err = net.SplitHostPort(args[1]); err != nil {
		return fmt.Errorf("%q has no port: want DESTINATION PORT, or DESTINATION:PORT", args[1])
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no port: want a number from 1 to 65535", port)
	}
	q.Port = uint16(n)
	return nil
}

// outcomes in words.
var outcomes = map[string]string{
	admin.Served: "would be served", admin.Refused: "would be refused", admin.Depends: "would be served or not, which depends",
	admin.Passed: "would not get it: it goes where it goes without Tandem", admin.Elsewhere: "leads elsewhere",
}

func printExplanation(w io.Writer, x *admin.Explanation) error {
	fmt.Fprintf(w, "%s → %s\n", x.Source, x.Destination)
	for i := range x.Listeners {
		v := &x.Listeners[i]
		fmt.Fprintf(w, "\nlistener %s (%s): %s (%s)\n", v.Listener, v.Type, cmp.Or(outcomes[v.Outcome], v.Outcome), v.Rule)
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, r := range v.Rulings {
			fmt.Fprintf(t, "  %s\t%s\t%s", r.Stage, verdictText(r.Verdict), r.Rule)
			if r.Detail != "" {
				fmt.Fprintf(t, "\t%s", r.Detail)
			}
			fmt.Fprintln(t)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func verdictText(v string) string {
	switch v {
	case "passes":
		return "yes"
	case "refuses":
		return "NO"
	case "notes":
		return "note"
	}
	return v
}
