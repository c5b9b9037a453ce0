// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpful has mistakes in command lines, of c and of the commands below it, end
// with how they are to be.
func helpful(c *cobra.Command) {
	c.SetFlagErrorFunc(misused)
	if c.HasSubCommands() {
		c.Args, c.RunE = noSuchCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return misused(c, check(c, args)) }
	}
	for _, sub := range c.Commands() {
		helpful(sub)
	}
}

// misused adds to an error how a command is to be used.
func misused(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	use := c.UseLine()
	if c.HasSubCommands() {
		use = c.CommandPath() + " COMMAND"
	}
	return fmt.Errorf("%w\nusage: %s; %s --help says more", err, use, c.CommandPath())
}

// noSuchCommand is for a command that only groups others, whose names cobra
// checks below its root alone.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2 // letters that may be wrong: cobra's own default
	like := ""
	if names := c.SuggestionsFor(args[0]); len(names) > 0 {
		like = "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], c.CommandPath(), like)
}
