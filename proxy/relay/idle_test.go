// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"io"
	"os"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
)

// TestIdlePairsHoldNothing moves enough through many pairs for them to be
// spliced, and looks at what is left with them when the flows pause.
func TestIdlePairsHoldNothing(t *testing.T) {
	r := newRig(t, loopback(t, 65536))
	const (
		pairs = 10
		size  = 6 << 20
		// Both ends of a pair and both peers, and the idle pipes of the pool.
		perPair, pipes = 4, 2
	)
	before := descriptors(t)
	legs := relaytest.Legs{Client: relaytest.TCP, Server: relaytest.TCP}
	if mptcp.Supported() == nil {
		legs.Client = relaytest.MPTCP
	}
	for i := range pairs {
		c, err := r.Join(relaytest.Request{Legs: legs})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		from, to := c.Client, c.Server
		if i%2 == 1 {
			from, to = to, from
		}
		sent := make(chan error, 1)
		go func() {
			_, err := from.Write(make([]byte, size))
			sent <- err
		}()
		if _, err := io.CopyN(io.Discard, to, size); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	labtest.Await(t, patience, "pipes and buffers are given back", func() bool {
		pipes, bytes := r.lent(t)
		return pipes == 0 && bytes == 0
	})
	// Listeners and pollers of the test itself are a few more.
	const others = 10
	if n := descriptors(t) - before; n > pairs*perPair+pipes+others {
		t.Errorf("%d idle pairs hold %d descriptors, their peers' included", pairs, n)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
