// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/config"
)

// Errors of a check, which has printed more.
var (
	errMistakes   = errors.New("the configuration has mistakes")
	errUnreadable = errors.New("a file could not be read")
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Look for mistakes in configuration files",
		Long: `Reads configuration files as "tandem run" would and prints every mistake with
file, line, column, key and what is expected. Nothing is started or changed.
The exit code is 1 if there are mistakes.`,
		Example: "  tandem check /etc/tandem/cpe.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var failed error
			for _, file := range files {
				if err := check(cmd, file); failed == nil || err == errMistakes {
					failed = err
				}
			}
			return failed
		},
	}
}

// check reads one file and prints what there is to say.
func check(cmd *cobra.Command, file string) error {
	out := cmd.OutOrStdout()
	c, err := config.Load(file)
	if err != nil {
		fmt.Fprintln(out, err)
		if mistakes := (config.Errors)(nil); errors.As(err, &mistakes) {
			return errMistakes
		}
		return errUnreadable
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(out, "warning:", w)
	}
	fmt.Fprintf(out, "%s: good (listeners: %d, upstreams: %d)\n", file, len(c.Listeners), len(c.Upstreams))
	return nil
}
