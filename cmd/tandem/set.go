// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/plural"
)

func setCommand() *cobra.Command {
	var one singleChange
	var many bulkChange
	var clear []string
	var asJSON *bool
	c := operator(&cobra.Command{
		Use:   "set [TOKEN] [OPTION=VALUE...]",
		Short: "Show or change options of connections of the running tandem",
		Long: `Changes options of a live connection, which is named by the MPTCP token of one
of its legs, as "tandem connections" shows it, or with --id by its ID. What is
set counts for more than what listener, subscriber and client have chosen, until
it is taken back with --clear or the connection ends. Without anything to change
it shows what is in force.

With --all, or with --listener, --client, --server, --user or --policy, which
have to be met all, it changes the options of all such connections that are
relayed now; --dry-run only says how many those are.

The exit code is 1 if something could not be put into force.

` + optionHelp(),
		Example: `  tandem set b2b95ce6 scheduler=primary subflow-rate-limit=2:4Mbit
  tandem set b2b95ce6 --clear scheduler
  tandem set --id 7 inactivity-timeout=10m
  tandem set --user ada --dry-run scheduler=primary
  tandem set --all --clear all`,
	}, func(cmd *cobra.Command, client *admin.Client, args []string) error {
		one.byID = cmd.Flags().Changed("id")
		if many.meant() {
			if one.byID {
				return errors.New("want --id or a choice of many, not both")
			}
			return many.run(cmd, client, args, clear, *asJSON)
		}
		if many.dryRun {
			return errors.New("--dry-run is for many connections: want --all, --listener, --client, --server, --user or --policy")
		}
		return one.run(cmd, client, args, clear, *asJSON)
	})
	f := c.Flags()
	f.Uint64Var(&one.id, "id", 0, "`ID` of the connection, instead of a token")
	f.StringSliceVar(&clear, "clear", nil, "take back what was set of these `options`, or of all")
	filterFlags(c, &many.filter)
	f.BoolVar(&many.all, "all", false, "all connections")
	f.BoolVar(&many.dryRun, "dry-run", false, "change nothing, only say how many connections would be changed")
	asJSON = jsonFlag(c)
	return c
}

// singleChange is one of a connection.
type singleChange struct {
	byID bool
	id   uint64
}

func (s *singleChange) run(cmd *cobra.Command, client *admin.Client, args, clear []string, asJSON bool) error {
	filter := admin.Filter{Limit: 1}
	if !s.byID {
		if len(args) == 0 {
			return errors.New("want the token of a connection, or --id; or --all, --listener, --client, --server, --user or --policy")
		}
		if err := filter.Token.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		args = args[1:]
	} else {
		filter.Limit = 0 // there is no other way to find it
	}
	change, err := changeOf(args, clear)
	if err != nil {
		return err
	}
	found, err := findConnection(cmd.Context(), client, filter, func(c *admin.Connection) bool { return !s.byID || c.ID == s.id })
	if err != nil {
		return err
	}
	if slices.Equal(clear, []string{allOptions}) {
		change.Clear = chosenByOperator(found.Options)
	}
	now := admin.ConnectionOptions{Options: []admin.ConnectionOption{}}
	if found.Options != nil {
		now = *found.Options
	}
	if len(change.Set)+len(change.Clear) > 0 {
		if now, err = client.Choose(cmd.Context(), found.ID, change); err != nil {
			return err
		}
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), now)
	} else {
		err = printOptions(cmd.OutOrStdout(), &now)
	}
	return errors.Join(err, notInForce(&now, &change))
}

const allOptions = "all"

// optionHelp lists the options.
func optionHelp() string {
	var text strings.Builder
	for o := range options.All() {
		fmt.Fprintf(&text, "  %s: %s\n      %s\n", o, o.About(), o.Takes())
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// changeOf reads what is to be changed, so that mistakes are told before anybody
// is asked.
func changeOf(args, clear []string) (admin.OptionChange, error) {
	change := admin.OptionChange{Set: map[string]string{}}
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		o, err := options.Named(name)
		if err == nil && !ok {
			err = fmt.Errorf("want %s=VALUE: %s", name, o.Takes())
		}
		if err == nil {
			_, err = o.Parse(text)
		}
		if _, twice := change.Set[name]; twice {
			err = options.ErrTwice
		}
		if err != nil {
			return change, fmt.Errorf("%s: %w", arg, err)
		}
		change.Set[name] = text
	}
	if slices.Equal(clear, []string{allOptions}) {
		return change, nil
	}
	for _, name := range clear {
		if _, err := options.Named(name); err != nil {
			return change, fmt.Errorf("--clear %s: %w", name, err)
		}
	}
	change.Clear = clear
	return change, nil
}

// findConnection asks for the one connection that is meant.
func findConnection(ctx context.Context, client *admin.Client, filter admin.Filter, meant func(*admin.Connection) bool) (*admin.Connection, error) {
	var found *admin.Connection
	_, err := client.Connections(ctx, filter, func(c *admin.Connection) error {
		if meant(c) {
			found = c
		}
		return nil
	})
	if err == nil && found == nil {
		err = &admin.Error{Message: "there is no such connection", Hint: "tandem connections lists them; it may have ended"}
	}
	return found, err
}

func chosenByOperator(now *admin.ConnectionOptions) (names []string) {
	if now == nil {
		return nil
	}
	for _, o := range now.Options {
		if o.By == options.FromOperator.String() {
			names = append(names, o.Option)
		}
	}
	return names
}

// notInForce is an error if something that was set could not be.
func notInForce(now *admin.ConnectionOptions, change *admin.OptionChange) error {
	var failed []error
	for name := range change.Set {
		if why := now.NotInForce(name); why != "" {
			failed = append(failed, errors.New(why))
		}
	}
	return errors.Join(failed...)
}

// printOptions prints options for people.
func printOptions(w io.Writer, c *admin.ConnectionOptions) error {
	if len(c.Options)+len(c.Mistakes) == 0 {
		_, err := fmt.Fprintln(w, "nobody has chosen an option")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "OPTION\tVALUE\tASKED\tBY\tWHY")
	for _, o := range c.Options {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", o.Option, o.Value, cmp.Or(o.Asked, "-"), o.By, because(o.Why, o.Detail))
	}
	for _, m := range c.Mistakes {
		fmt.Fprintf(t, "-\t-\t%s\t-\t%s\n", m.Text, because(m.Why, m.Detail))
	}
	if c.MoreMistakes > 0 {
		fmt.Fprintf(t, "-\t-\t-\t-\t%s more mistakes\n", plural.Digits(uint64(c.MoreMistakes)))
	}
	return t.Flush()
}

func because(why, detail string) string {
	if detail == "" {
		return why
	}
	return why + ": " + detail
}

// optionsText is options in a word for each: scheduler=primary, and where a
// client did not get what it asked for, why.
func optionsText(c *admin.Connection) string {
	var list []string
	if c.Options != nil {
		for _, o := range c.Options.Options {
			text := o.Option + "=" + o.Value
			if o.Asked != "" && o.Asked != o.Value {
				text += fmt.Sprintf(" (asked %s: %s)", o.Asked, o.Why)
			} else if o.Why == options.Unsupported.String() {
				text += " (" + o.Why + ")"
			} else if o.Detail != "" && (o.Why == options.AsAsked.String() || o.Why == options.ByDefault.String()) {
				text += " (" + o.Detail + ")" // in force, not quite
			}
			list = append(list, text)
		}
		if n := len(c.Options.Mistakes) + c.Options.MoreMistakes; n > 0 {
			list = append(list, fmt.Sprintf("%d not understood", n))
		}
	}
	if h := c.AskedOfHop; h != nil {
		list = append(list, "asked of hop: "+hopText(h))
	}
	return cmp.Or(strings.Join(list, ", "), "-")
}

// hopText is what a hop was asked for, and what it granted if that is something
// else.
func hopText(h *admin.HopOptions) string {
	var list []string
	for _, name := range options.Names() {
		asked, ok := h.Asked[name]
		if !ok {
			continue
		}
		text := name + "=" + asked
		switch granted, ok := h.Granted[name]; {
		case !h.Answered:
		case !ok:
			text += " (refused)"
		case granted != asked:
			text += " (granted " + granted + ")"
		}
		list = append(list, text)
	}
	text := strings.Join(list, ", ")
	if !h.Answered {
		text += " (no answer)"
	}
	return text
}
