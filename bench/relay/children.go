// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/reference"
)

// children are the processes that this program starts of itself, by their
// first argument.
var children = map[string]func(context.Context, []string) error{
	"source": source,
	"client": client,
	"iocopy": func(ctx context.Context, args []string) error {
		return reference.Copy(ctx, relayOptions("iocopy", args).Options)
	},
	"engine": func(ctx context.Context, args []string) error {
		return reference.Engine(ctx, relayOptions("engine", args))
	},
}

var errOneArgument = errors.New("want one argument")

// source serves on the address that is its argument, and writes a line once
// clients may connect.
func source(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errOneArgument
	}
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	serving, ctx := errgroup.WithContext(ctx)
	serving.Go(func() error { return load.ServeCollector(ctx, addr) })
	serving.Go(func() error { return load.ServeSource(ctx, addr, func() { fmt.Println("ready") }) })
	return serving.Wait()
}

// client does the job that is its argument, in JSON.
func client(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errOneArgument
	}
	var job load.Job
	if err := json.Unmarshal([]byte(args[0]), &job); err != nil {
		return err
	}
	return load.RunClient(ctx, &job, os.Stdin, os.Stdout)
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
