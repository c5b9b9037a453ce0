// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"flag"
	"os"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/trace"
)

var update = flag.Bool("update", false, "capture testdata/two-paths.pcap again")

const example = "testdata/two-paths.pcap"

// TestExample reads a capture of a lab that is kept, also where no lab can be
// made.
func TestExample(t *testing.T) {
	const up, down = 1000, 100_000
	if *update {
		captureExample(t, up, down)
	}
	all := analyze(t, example)
	if len(all.connections) != 2 {
		t.Fatalf("%d connections, %+v", len(all.connections), all.counts)
	}
	c, fallback := all.connections[0], all.connections[1]
	if c.Outcome != trace.Multipath || c.Ending != trace.DataFIN || c.Up.Bytes != up || c.Down.Bytes != down || len(c.Subflows) != 2 {
		t.Errorf("%+v", c)
	}
	if s := c.Subflows[1]; s.Join <= 0 || s.Handshake <= 0 || s.Opening != trace.Established || !s.Used() {
		t.Errorf("%+v", s)
	}
	if fallback.Outcome != trace.FellBack || fallback.Fallback != trace.NoCapableSYNACK || fallback.Up.Bytes != up || fallback.Down.Bytes != 0 {
		t.Errorf("%+v", fallback)
	}
}

// captureExample transfers over two paths, and then over one that strips
// options.
func captureExample(t *testing.T, up, down int64) {
	p, packets := captured(t, lab.TwoPathSpec{}, nil)
	send(t, p.client, p.server, up)
	labtest.Await(t, patience, "second subflow", func() bool { return info(t, p.server).Subflows == 1 })
	send(t, p.server, p.client, down)
	p.finish(t)
	nft(t, p.Aggregator, "prerouting", "tcp dport 5001 reset tcp option mptcp")
	p.dial(t, prefer)
	send(t, p.client, p.server, up)
	p.finish(t)
	awaitConnections(t, packets, 2)
	file, err := os.ReadFile(packets.File())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(example, file, 0o644); err != nil {
		t.Fatal(err)
	}
}
