// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestHalfClosed: a connection of which one stream has ended gets no further
// subflows from the kernel, and yet outlives that all its links go down one after
// the other and come back.
func TestHalfClosed(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
			if err := f.client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := f.server.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Fatalf("%d bytes, %v: want the end of the stream", n, err)
			}
			down := func(link lab.Access) {
				if err := link.Down(); err != nil {
					t.Fatal(err)
				}
			}
			up := func(link lab.Access) {
				if err := link.Up(); err != nil {
					t.Fatal(err)
				}
			}
			down(w.WiFi)
			f.awaitSubflows(pair(w.Cell.Addr.V4, to))
			up(w.WiFi)
			labtest.Await(t, patience, "the answer of the kernel", func() bool { return w.client.Counters().Refused[unix.ENOTCONN] == 1 })
			f.move(f.server, f.client, 1<<20)
			down(w.Cell)
			labtest.Await(t, patience, "no route", func() bool { return !state(t, w.client, f.clientToken).Lost.IsZero() })
			wait := f.start(f.server, f.client, 1<<20)
			up(w.Cell)
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			labtest.Await(t, patience, "the route", func() bool { return state(t, w.client, f.clientToken).Lost.IsZero() })
			f.awaitSubflows(pair(w.Cell.Addr.V4, to))
			if n := w.client.Counters(); n.Refused[unix.ENOTCONN] != 1 || n.Expired != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}
