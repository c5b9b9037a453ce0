// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/bench/lab/selftest"
)

func labSelftestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "selftest",
		Short: "Measure links of the lab against what was asked of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Println("links are emulated over TUN devices")
			fmt.Printf("%-30s%12s%12s%12s  %-8s\n", "property", "asked", "measured", "tolerance", "unit")
			missed := 0
			err := selftest.Run(cmd.Context(), func(r selftest.Result) {
				verdict := "ok"
				if !r.OK() {
					verdict = "MISSED"
					missed++
				}
				fmt.Printf("%-30s%12.3f%12.3f%12.3f  %-8s%s\n", r.Property, r.Asked, r.Measured, r.Tolerance, r.Unit, verdict)
			})
			if err == nil && missed > 0 {
				err = fmt.Errorf("%d measurements miss what was asked; on a busy machine that may be its load", missed)
			}
			return err
		},
	}
}
