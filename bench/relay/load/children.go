// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// Names of Children.
const (
	SourceChild = "load-source" // argument: its address; writes a line once it serves
	ClientChild = "load-client" // argument: a Job in JSON; see RunClient
)

// Children are the processes of this package.
var Children = map[string]experiment.Child{SourceChild: sourceChild, ClientChild: clientChild}

var errOneArgument = errors.New("want one argument")

func sourceChild(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errOneArgument
	}
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	serving, ctx := errgroup.WithContext(ctx)
	serving.Go(func() error { return ServeCollector(ctx, addr) })
	serving.Go(func() error { return ServeSource(ctx, addr, func() { fmt.Println("ready") }) })
	return serving.Wait()
}

func clientChild(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errOneArgument
	}
	var job Job
	if err := json.Unmarshal([]byte(args[0]), &job); err != nil {
		return err
	}
	return RunClient(ctx, &job, os.Stdin, os.Stdout)
}
