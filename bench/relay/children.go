// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"net/netip"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/reference"
)

// children are the processes that this program starts of itself, by their
// first argument.
var children = map[string]experiment.Child{
	load.SourceChild: load.Children[load.SourceChild],
	load.ClientChild: load.Children[load.ClientChild],
	"iocopy": func(ctx context.Context, args []string) error {
		return reference.Copy(ctx, relayOptions("iocopy", args).Options)
	},
	"engine": func(ctx context.Context, args []string) error {
		return reference.Engine(ctx, relayOptions("engine", args))
	},
}

// relayOptions reads the arguments of a relay.
func relayOptions(name string, args []string) reference.EngineOptions {
	var o reference.EngineOptions
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.TextVar(&o.Listen, "listen", netip.AddrPort{}, "`address` to listen on")
	flags.TextVar(&o.Target, "target", netip.AddrPort{}, "`address` of the server")
	flags.BoolVar(&o.MPTCP, "mptcp", false, "listen with MPTCP")
	flags.BoolVar(&o.SOCKS5, "socks5", false, "ask clients for the server")
	flags.StringVar(&o.Profile, "profile", "", "`file` for a CPU profile")
	flags.Parse(args)
	return o
}
