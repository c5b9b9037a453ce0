// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Child is a process that an experiment starts of the program that runs it, so
// that load runs beside what is measured and in another namespace.
type Child func(ctx context.Context, args []string) error

// ChildWords are the arguments before the name of a child.
var ChildWords = []string{"bench", "child"}

// Child is the command line of a child, for [lab.Host.Command].
//
// [lab.Host.Command]: https://pkg.go.dev/github.com/tandem-gateway/tandem/bench/lab#Host.Command
func (e *Env) Child(name string, args ...string) (program string, arguments []string) {
	return e.Self, append(append(append([]string{}, ChildWords...), name), args...)
}

// RunChild runs a child by name.
func RunChild(ctx context.Context, children map[string]Child, name string, args []string) error {
	child := children[name]
	if child == nil {
		return fmt.Errorf("no child process is named %q", name)
	}
	return child(ctx, args)
}

// ChildMain is for TestMain of packages whose experiments start children: in a
// process that is one it does its work and exits; else it returns.
func ChildMain(children map[string]Child) {
	n := len(ChildWords)
	if len(os.Args) < n+2 || os.Args[1] != ChildWords[0] || os.Args[2] != ChildWords[1] {
		// Else each of them sleeps for a second at its end when built with -race.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := RunChild(ctx, children, os.Args[n+1], os.Args[n+2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
