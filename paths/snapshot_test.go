// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestSnapshot looks at all that is told of a connection, and whether it
// survives a socket.
func TestSnapshot(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	begin := time.Now()
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}, Name: "fullmesh"}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	f.move(f.client, f.server, 200_000)
	f.move(f.server, f.client, 100_000)
	var c ConnectionState
	labtest.Await(t, patience, "all acknowledged", func() bool {
		c = state(t, w.client, f.clientToken)
		var acked, received uint64
		for _, s := range c.Subflows {
			acked += s.Acked
			received += s.Received
		}
		return acked > 200_000 && received > 100_000
	})
	if c.Policy != "fullmesh" || !c.Initiator || c.Begun.Before(begin) || !c.Lost.IsZero() || len(c.Paths) != 2 || len(c.Remotes) != 1 {
		t.Errorf("%+v", c)
	}
	cell := c.Subflows[1]
	if cell.Interface != "cell" || cell.State != Established || cell.Opened != ByPolicy || cell.LocalID == 0 || cell.RTT == 0 || cell.ID != 2 ||
		cell.Since.Before(c.Begun) || cell.LocalAddr().Addr() != w.Cell.Addr.V4 {
		t.Errorf("%+v", cell)
	}
	run(t, w.Client, "ss", "-K", "src", cell.LocalAddr().String())
	labtest.Await(t, patience, "its successor", func() bool {
		c = state(t, w.client, f.clientToken)
		return len(c.Past) == 1 && len(c.Subflows) == 2 && c.Subflows[1].State == Established
	})
	past := c.Past[0]
	if past.State != Closed || past.Closed != ResetSent || past.Sent < cell.Sent || past.Error == 0 || c.Subflows[1].Opened != ResetSent {
		t.Errorf("past: %+v, now %+v", past, c.Subflows[1])
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var read ConnectionState
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, read, cmpopts.IgnoreUnexported(Subflow{}), compare); diff != "" {
		t.Errorf("as JSON (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	for c := range causes {
		text, _ := c.MarshalText()
		var read Cause
		if err := read.UnmarshalText(text); err != nil || read != c || len(text) == 0 {
			t.Errorf("%s: %v, %v", text, read, err)
		}
	}
	for s := Waiting; s <= Closed; s++ {
		text, _ := s.MarshalText()
		var read State
		if err := read.UnmarshalText(text); err != nil || read != s {
			t.Errorf("%s: %v, %v", text, read, err)
		}
	}
	var c Cause
	var s State
	if c.UnmarshalText([]byte("x")) == nil || s.UnmarshalText([]byte("x")) == nil {
		t.Error("read what is no name")
	}
}
