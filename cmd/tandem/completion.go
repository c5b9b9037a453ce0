// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/topology"
	"github.com/tandem-gateway/tandem/bench/suite"
	"github.com/tandem-gateway/tandem/options"
)

// completionPatience is how long a shell waits for a running tandem.
const completionPatience = time.Second

// flagValues are what shells complete of flags. Those that are not here have
// files completed if they take some, or nothing.
var flagValues = map[string]cobra.CompletionFunc{
	"clear":     fixed(append(options.Names(), allOptions)...),
	"config":    configurationFiles,
	"costs":     cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveFilterFileExt),
	"html":      cobra.FixedCompletions([]string{"html"}, cobra.ShellCompDirectiveFilterFileExt),
	"id":        ofConnections(func(c *admin.Connection) []string { return []string{connectionID(c)} }),
	"interface": lazy(interfaces, plainWords),
	"lab":       lazy(labs, plainWords),
	"listener": asked(func(ctx context.Context, c *admin.Client) (names []string) {
		s, _ := c.Status(ctx)
		for _, l := range s.Listeners {
			names = append(names, l.Name)
		}
		return names
	}),
	"name":   ofSubscribers(func(s *admin.Subscriber) string { return s.Name }),
	"policy": ofSubscribers(func(s *admin.Subscriber) string { return s.Policy }),
	"token":  ofConnections(tokens),
	"user":   ofConnections(func(c *admin.Connection) []string { return []string{c.User} }),
}

// argumentValues are what shells complete of arguments, by command. Others than
// these have files completed if they take some, or nothing.
var argumentValues = map[string]cobra.CompletionFunc{
	"tandem check":     configurationFiles,
	"tandem kick":      flagValues["id"],
	"tandem set":       completeChange,
	"tandem bench run": lazy(experimentIDs, plainWords),
	"tandem lab up":    lazy(topology.Presets, cobra.ShellCompDirectiveDefault), // or a file
	"tandem lab run":   lazy(topology.Presets, cobra.ShellCompDirectiveDefault),
	"tandem trace":     cobra.FixedCompletions([]string{"pcap", "pcapng", "gz"}, cobra.ShellCompDirectiveFilterFileExt),
}

// takingFiles are commands whose arguments are files or directories of any name.
var takingFiles = []string{"tandem bench report", "tandem bench compare", "tandem lab exec", "tandem manual"}

// sortOrders are what --sort takes, by command.
var sortOrders = map[string][]string{"tandem connections": orderNames, "tandem subscribers": subscriberOrderNames}

// plainWords is for values that are no files.
const plainWords = cobra.ShellCompDirectiveNoFileComp

// lazy finds out only when it is asked.
func lazy(words func() []string, d cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return words(), d }
}

func fixed(words ...string) cobra.CompletionFunc { return cobra.FixedCompletions(words, plainWords) }

var configurationFiles = cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)

// completable has shells complete the values of flags and arguments of a command
// and of those below it.
func completable(c *cobra.Command) {
	path := c.CommandPath()
	switch values := argumentValues[path]; {
	case values != nil:
		c.ValidArgsFunction = values
	case len(c.ValidArgs) == 0 && !c.HasSubCommands() && !slices.Contains(takingFiles, path):
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		values := flagValues[f.Name]
		if orders := sortOrders[path]; f.Name == "sort" && orders != nil {
			values = fixed(orders...)
		}
		if what, _ := pflag.UnquoteUsage(f); values == nil && !slices.Contains([]string{"file", "path", "program", "directory", "LINK.PROPERTY=CSV"}, what) {
			values = cobra.NoFileCompletions
		}
		if values != nil {
			// It fails only for flags that there are not, or twice.
			_ = c.RegisterFlagCompletionFunc(f.Name, values)
		}
	})
	for _, sub := range c.Commands() {
		completable(sub)
	}
}

// asked completes with what a running tandem knows, with nothing if none answers.
func asked(list func(context.Context, *admin.Client) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		socket, err := cmd.Flags().GetString("socket")
		if err != nil {
			return nil, plainWords
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
		defer cancel()
		client := admin.NewClient(socket)
		defer client.Close()
		words := list(ctx, client)
		slices.Sort(words)
		words = slices.Compact(words)
		return slices.DeleteFunc(words, func(w string) bool { return w == "" }), plainWords
	}
}

func ofConnections(words func(*admin.Connection) []string) cobra.CompletionFunc {
	return asked(func(ctx context.Context, c *admin.Client) (all []string) {
		_, _ = c.Connections(ctx, admin.Filter{}, func(c *admin.Connection) error {
			all = append(all, words(c)...)
			return nil
		})
		return all
	})
}

func connectionID(c *admin.Connection) string { return strconv.FormatUint(c.ID, 10) }

func tokens(c *admin.Connection) (all []string) {
	for _, l := range []*admin.Leg{&c.Client, c.Server} {
		if l != nil && l.MPTCP {
			all = append(all, l.Token.String())
		}
	}
	return all
}

func ofSubscribers(word func(*admin.Subscriber) string) cobra.CompletionFunc {
	return asked(func(ctx context.Context, c *admin.Client) (all []string) {
		_, _ = c.Subscribers(ctx, admin.SubscriberFilter{}, func(s *admin.Subscriber) error {
			all = append(all, word(s))
			return nil
		})
		return all
	})
}

// completeChange completes the arguments of tandem set: a token, unless it is
// said otherwise which connections are meant, then options and their values.
func completeChange(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if name, _, ok := strings.Cut(word, "="); ok {
		var words []string
		for _, value := range optionValues(name) {
			words = append(words, name+"="+value)
		}
		return words, plainWords
	}
	chosen := len(args) > 0
	for _, flag := range []string{"id", "all", "listener", "client", "server", "user", "policy"} {
		chosen = chosen || cmd.Flags().Changed(flag)
	}
	if !chosen {
		return flagValues["token"](cmd, args, word)
	}
	var words []string
	for _, name := range options.Names() {
		words = append(words, name+"=")
	}
	return words, plainWords | cobra.ShellCompDirectiveNoSpace
}

// optionValues are the values of options that are words.
func optionValues(name string) []string {
	switch name {
	case options.Scheduler.String():
		return options.ScheduleNames()
	case options.CongestionControl.String():
		b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
		return strings.Fields(string(b))
	}
	return nil
}

func experimentIDs() (ids []string) {
	for _, x := range suite.Experiments() {
		ids = append(ids, x.ID)
	}
	return ids
}

func interfaces() (names []string) {
	list, _ := net.Interfaces()
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

func labs() (ids []string) {
	list, _ := lab.List()
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids
}
