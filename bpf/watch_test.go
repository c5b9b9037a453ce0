// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// watch calls Watch in the namespace of a host.
func (l *log) watch(t *testing.T, h *lab.Host, w ...Watch) {
	t.Helper()
	if err := h.Do(func() error { return l.events.Watch(w...) }); err != nil {
		t.Fatal(err)
	}
}

func TestBytesReached(t *testing.T) {
	const limit, chunk = 200_000, 50_000
	for _, download := range []bool{false, true} {
		name := map[bool]string{false: "sent", true: "received"}[download]
		t.Run(name, func(t *testing.T) {
			l := watchAll(t)
			tp := labtest.TwoPath(t, lab.TwoPathSpec{})
			e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V6)
			from, to := e.client, e.server
			if download {
				from, to = to, from
			}
			l.watch(t, tp.Client, Watch{Token: e.clientToken, Bytes: limit})
			moved := 0
			for moved < limit-chunk {
				e.move(t, from, to, chunk-10)
				moved += chunk - 10
			}
			if n := len(l.of(e.clientToken, BytesReached)); n != 0 {
				t.Errorf("told after %d of %d bytes", moved, limit)
			}
			e.move(t, from, to, 2*chunk)
			l.await(e.clientToken, BytesReached, 1)
			e.move(t, from, to, limit)
			if e.client.Close(); len(l.await(e.clientToken, BytesReached, 1)) != 1 {
				t.Error("told twice")
			}
			if n := len(l.of(e.serverToken, BytesReached)); n != 0 {
				t.Error("told of a connection that is not watched")
			}
		})
	}
}

// TestRTTCrossed fills the queue of a slow link and lets it run empty.
func TestRTTCrossed(t *testing.T) {
	l := watchAll(t)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 10e6, Queue: 100_000}})
	if err := tp.Client.MPTCPLimits(0, 0); err != nil {
		t.Fatal(err)
	}
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	const limit = 20 * time.Millisecond
	l.watch(t, tp.Client, Watch{Token: e.clientToken, RTT: limit})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		discard(e.server)
	}()
	block := make([]byte, 64<<10)
	labtest.Await(t, patience, "RTT above the limit", func() bool {
		if _, err := e.client.Write(block); err != nil {
			t.Fatal(err)
		}
		return len(l.of(e.clientToken, RTTCrossed)) > 0
	})
	up := l.of(e.clientToken, RTTCrossed)[0]
	if !up.Above || up.SRTT <= limit || up.Subflow != 1 {
		t.Errorf("%+v", up)
	}
	labtest.Await(t, patience, "RTT below the limit", func() bool {
		if _, err := e.client.Write(block[:1]); err != nil {
			t.Fatal(err)
		}
		return len(l.of(e.clientToken, RTTCrossed)) > 1
	})
	down := l.of(e.clientToken, RTTCrossed)[1]
	if down.Above || down.SRTT > limit*7/8 {
		t.Errorf("%+v", down)
	}
	e.client.Close()
	<-drained
}

func discard(c *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// TestLooksOnlyWhileWatched counts how often programs run during transfers.
func TestLooksOnlyWhileWatched(t *testing.T) {
	l := watchAll(t)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	l.await(e.clientToken, Joined, 1)
	l.await(e.serverToken, Joined, 1)
	runs := func() uint64 {
		before, err := l.events.objects.TandemEvents.Stats()
		if err != nil {
			t.Fatal(err)
		}
		e.move(t, e.client, e.server, 1<<20)
		after, err := l.events.objects.TandemEvents.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return after.RunCount - before.RunCount
	}
	if n := runs(); n != 0 {
		t.Errorf("%d runs without a watch", n)
	}
	w := Watch{Token: e.clientToken, RTT: time.Minute, Bytes: 1 << 60}
	l.watch(t, tp.Client, w)
	if n := runs(); n == 0 {
		t.Error("no runs with a watch")
	}
	l.watch(t, tp.Client, Watch{Token: w.Token})
	if n := runs(); n != 0 {
		t.Errorf("%d runs after the watch", n)
	}
}
