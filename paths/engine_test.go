// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
)

func TestNDiffPortsOnKernel(t *testing.T) {
	for _, source := range sources {
		for _, family := range []string{"IPv4", "IPv6"} {
			t.Run(source+"/"+family, func(t *testing.T) {
				w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
				from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
				if family == "IPv6" {
					from, to = w.WiFi.Addr.V6, w.AggregatorAddr.V6
				}
				f := w.connect(w.listen(to), to, Policy{Manager: NDiffPorts{N: 3}}, Policy{})
				f.awaitSubflows(pair(from, to), pair(from, to), pair(from, to))
				f.move(f.client, f.server, 1<<20)
				for i, s := range state(t, w.client, f.clientToken).Subflows {
					want := ByPolicy
					if i == 0 {
						want = FirstSubflow
					}
					if s.Opened != want || s.Interface != "wifi" || s.RTT == 0 || s.Passive || s.Since.IsZero() {
						t.Errorf("%+v", s)
					}
				}
				if got := len(established(t, w.server, f.serverToken)); got != 3 {
					t.Errorf("server has %d subflows", got)
				}
			})
		}
	}
}
