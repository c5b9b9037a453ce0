// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// TestMain is also the entry of the processes that the benchmark starts of its
// own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if child := children[os.Args[1]]; child != nil {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			err := child(ctx, os.Args[2:])
			stop()
			if err != nil {
				os.Stderr.WriteString(err.Error() + "\n")
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	// Else each of them sleeps for a second at its end when built with -race.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func TestChooseScenarios(t *testing.T) {
	names := func(all []scenario) (names []string) {
		for _, s := range all {
			names = append(names, s.Name)
		}
		return names
	}
	all, err := chooseScenarios("")
	if err != nil || len(all) != len(scenarios()) {
		t.Fatalf("%d scenarios by default, %v", len(all), err)
	}
	seen := map[string]bool{}
	for _, name := range names(all) {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	for wanted, number := range map[string]int{"bulk-": 4, "bulk8": 2, "idle-tcp": 1, "idle, connections-mptcp": 3} {
		if got, err := chooseScenarios(wanted); err != nil || len(got) != number {
			t.Errorf("%q gives %v, %v, want %d", wanted, names(got), err, number)
		}
	}
	for _, wanted := range []string{"bulk,x", "sip"} {
		if got, err := chooseScenarios(wanted); err == nil {
			t.Errorf("%q gives %v", wanted, names(got))
		}
	}
}

func TestChoosePeers(t *testing.T) {
	all := peers.All(peers.Tools{})
	chosen, err := choosePeers(all, "nginx, tandem")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range chosen {
		got = append(got, p.Name+" "+string(p.Front))
	}
	want := []string{"direct -", "io.Copy forward", "tandem forward", "tandem socks5", "nginx forward"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	if _, err := choosePeers(all, "squid"); err == nil {
		t.Error("a peer that does not exist is accepted")
	}
	if chosen, err := choosePeers(all, ""); err != nil || len(chosen) != len(all) {
		t.Errorf("%d peers by default, %v", len(chosen), err)
	}
}
