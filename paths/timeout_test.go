// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestSubflowTimesOut: a path swallows what is sent over it until TCP gives the
// subflow up. The other one carries all, and the reason is told; the same for
// the last subflow of a connection.
func TestSubflowTimesOut(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			// One and a half seconds instead of a quarter of an hour.
			if err := w.Client.Sysctl("net.ipv4.tcp_retries2", "2"); err != nil {
				t.Fatal(err)
			}
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
			wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
			f.awaitSubflows(wifi, cell)
			nft(t, w.Aggregator, "iifname cell meta l4proto tcp drop")
			for deadline := time.Now().Add(2 * patience); w.client.Counters().Closed[TimedOut] == 0; {
				if time.Now().After(deadline) {
					t.Fatal("no subflow timed out")
				}
				f.move(f.client, f.server, 100_000)
			}
			past := state(t, w.client, f.clientToken).Past
			if len(past) != 1 || past[0].Local != w.Cell.Addr.V4 || past[0].Subflow.Closed != TimedOut || past[0].Error != unix.ETIMEDOUT {
				t.Errorf("past subflows: %+v", past)
			}

			// Now nothing gets through any more.
			w.client.Adopt(f.clientToken, &Policy{}, true)
			nft(t, w.Aggregator, "meta l4proto tcp drop")
			f.client.Write(make([]byte, 100_000))
			labtest.Await(t, patience, "the end of all", func() bool {
				c := state(t, w.client, f.clientToken)
				return !c.Lost.IsZero() && c.LostBy == TimedOut
			})
		})
	}
}
