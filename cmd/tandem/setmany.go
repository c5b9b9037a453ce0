// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/plural"
)

// bulkChange is one of all connections that a filter lets pass.
type bulkChange struct {
	filter admin.Filter
	all    bool
	dryRun bool
}

// meant reports whether anything says which connections.
func (b *bulkChange) meant() bool { return b.all || b.filter != admin.Filter{} }

func (b *bulkChange) run(cmd *cobra.Command, client *admin.Client, args, clear []string, asJSON bool) error {
	if b.all && (b.filter != admin.Filter{}) {
		return errors.New("want --all or a choice of some, not both")
	}
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		return fmt.Errorf("%s: want OPTION=VALUE; a token is for a single connection", args[0])
	}
	change, err := changeOf(args, clear)
	if err != nil {
		return err
	}
	if slices.Equal(clear, []string{allOptions}) {
		change.Clear = slices.DeleteFunc(options.Names(), func(name string) bool { _, set := change.Set[name]; return set })
	}
	if len(change.Set)+len(change.Clear) == 0 {
		return errors.New("want options to set, or --clear")
	}
	done, err := client.ChooseAll(cmd.Context(), b.filter, b.all, b.dryRun, change)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), done)
	} else {
		err = printChanged(cmd.OutOrStdout(), &done, b.dryRun)
	}
	if len(done.Refused) > 0 {
		err = errors.Join(err, errors.New("not all is in force everywhere"))
	}
	return err
}

// printChanged prints what a change of many connections has come to.
func printChanged(w io.Writer, c *admin.Changed, dryRun bool) error {
	did := "changed"
	if dryRun {
		did = "would change"
	}
	lines := []string{fmt.Sprintf("%s %s of %s", did, plural.Digits(int64(c.Changed)), plural.Of(c.Matched, "matching connection"))}
	for _, rest := range []struct {
		n    int
		what string
	}{{c.Unchanged, "had nothing to take back"}, {c.NotRelayed, "not relayed yet, or no longer"}} {
		if rest.n > 0 {
			lines = append(lines, fmt.Sprintf("  %s: %s", plural.Digits(int64(rest.n)), rest.what))
		}
	}
	for _, why := range slices.SortedFunc(maps.Keys(c.Refused), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Refused[b], c.Refused[a]), cmp.Compare(a, b))
	}) {
		lines = append(lines, fmt.Sprintf("  %s: %s", plural.Digits(int64(c.Refused[why])), why))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
