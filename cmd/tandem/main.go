// SPDX-License-Identifier: Apache-2.0

// Command tandem is an MPTCP proxy and hybrid-access gateway: SOCKS5 server,
// transparent CPE and Transport Converter (RFC 8803) in one.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set when the program is built: see the Makefile.
var version = "unknown"

func main() {
	os.Exit(execute(context.Background(), os.Args[1:]))
}

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "tandem:", err)
		return 1
	}
	return 0
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "MPTCP proxy and hybrid-access gateway",
		Long: `Tandem terminates the Multipath TCP connections of clients and splices them to
servers that speak plain TCP: as SOCKS5 server, as transparent proxy of a home
gateway, and as Transport Converter (RFC 8803) of an operator.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), checkCommand(), hashPasswordCommand(), versionCommand())
	root.AddCommand(statusCommand(), topCommand(), connectionsCommand(), subscribersCommand(), explainCommand(), pathsCommand(), setCommand(), kickCommand(), reloadCommand(), drainCommand(), upgradeCommand(), logLevelCommand())
	root.AddCommand(labCommand(), benchCommand(), traceCommand(), doctorCommand())
	root.AddCommand(manualCommand(root))
	helpful(root)
	completable(root)
	return root
}
