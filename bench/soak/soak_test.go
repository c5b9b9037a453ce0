// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Flags of the test.
var (
	length  = flag.Duration("soak", time.Minute, "how long the test loads the gateways")
	without = flag.String("without", "", "what is not to happen, with commas: some of "+strings.Join(eventNames[:], ", "))
	seed    = flag.Uint64("seed", 0, "what to begin random choices with; 0: the time")
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// How often things happen.
const (
	reloadEvery  = 5 * time.Second
	upgradeEvery = 30 * time.Second
	flapEvery    = 4 * time.Second
	awayEvery    = 20 * time.Second
	scarceEvery  = 25 * time.Second
)

// Workers of each kind.
const (
	lanWorkers    = 5
	socksWorkers  = 3
	tunnelWorkers = 3
	fuzzers       = 2
)

// TestSoak: nothing is lost, leaked or refused without a reason.
func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d repeats the choices", *seed)
	w := newWorld(t)
	w.warmUp(t)
	before := w.idle(t, nil)
	for _, s := range []*side{w.home, w.aggregator} {
		s.kernel = counted(s.host)
	}

	ctx, cancel := context.WithTimeout(t.Context(), *length)
	defer cancel()
	w.began = time.Now()
	var load sync.WaitGroup
	number := uint64(0)
	start := func(n int, work func(context.Context, *rand.Rand)) {
		for range n {
			number++
			random := rand.New(rand.NewPCG(*seed, number))
			load.Go(func() { work(ctx, random) })
		}
	}
	start(lanWorkers, w.transfers(w.viaHome))
	start(socksWorkers, w.transfers(w.viaSOCKS))
	start(tunnelWorkers, w.tunnels)
	start(fuzzers, w.fuzz)
	start(fuzzers, w.fuzzDatagrams(t))
	load.Go(func() { w.watchMemory(ctx) })
	w.disturb(t, ctx, rand.New(rand.NewPCG(*seed, 0)))
	load.Wait()

	after := w.idle(t, &before)
	w.judge(t, &before, &after)
}
