// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/config"
)

// errMistakes is for mistakes that have been printed already.
var errMistakes = errors.New("the configuration has mistakes")

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Look for mistakes in configuration files",
		Long: `Reads configuration files as "tandem run" would and prints every mistake with
file, line, column, key and what is expected. Nothing is started or changed.
The exit code is 1 if there are mistakes.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			failed := false
			for _, file := range files {
				if !check(cmd, file) {
					failed = true
				}
			}
			if failed {
				return errMistakes
			}
			return nil
		},
	}
}

// check reads one file, prints what there is to say, and reports whether it is
// good.
func check(cmd *cobra.Command, file string) bool {
	out := cmd.OutOrStdout()
	c, err := config.Load(file)
	if err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(out, "warning:", w)
	}
	fmt.Fprintf(out, "%s: good (listeners: %d, upstreams: %d)\n", file, len(c.Listeners), len(c.Upstreams))
	return true
}
