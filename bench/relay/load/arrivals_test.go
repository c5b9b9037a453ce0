// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answer answers one request.
func answer(c *net.TCPConn) {
	var b [ExchangeSize]byte
	if _, err := io.ReadFull(c, b[:]); err == nil {
		c.Write(b[:])
	}
}

func TestArrivals(t *testing.T) {
	job := Job{
		Workload: Arrivals, Via: serve(t, answer), PerSecond: 1000, Seed: 1,
		Duration: 100 * time.Millisecond, Patience: 30 * time.Second,
	}
	r, err := runArrivals(t.Context(), &job)
	if err != nil {
		t.Fatal(err)
	}
	if r.Connections != 100 || r.Failed != 0 || r.Latency.Count() != 100 || r.Latency.Percentile(50) <= 0 || r.Late < 0 {
		t.Errorf("%+v, %d latencies", r, r.Latency.Count())
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Result
	if err := json.Unmarshal(text, &again); err != nil || again.Latency.Percentile(99) != r.Latency.Percentile(99) {
		t.Errorf("%v, %+v", err, again)
	}
}

// TestArrivalsAreDue wants the time that a connection waits for its turn to
// count: the server takes them one after the other.
func TestArrivalsAreDue(t *testing.T) {
	const each = 5 * time.Millisecond
	job := Job{
		Workload: Arrivals, Via: serve(t, func(c *net.TCPConn) { answer(c); time.Sleep(each) }), PerSecond: 1000, Seed: 1,
		Duration: 50 * time.Millisecond, Patience: 30 * time.Second,
	}
	r, err := runArrivals(t.Context(), &job)
	if err != nil {
		t.Fatal(err)
	}
	// The last of 50 waits for 49 others, which come within 50 ms or so.
	if least := 49*each - 150*time.Millisecond; r.Connections != 50 || r.Latency.Max() < least {
		t.Errorf("%d connections, the slowest took %v, want at least %v", r.Connections, r.Latency.Max(), least)
	}
}

func TestArrivalsFail(t *testing.T) {
	over := make(chan struct{}) // the client has lost patience
	job := Job{
		Workload: Arrivals, Via: serve(t, func(*net.TCPConn) { <-over }), PerSecond: 200, Seed: 1,
		Duration: 50 * time.Millisecond, Patience: 200 * time.Millisecond,
	}
	r, err := runArrivals(t.Context(), &job)
	close(over)
	if err != nil {
		t.Fatal(err)
	}
	if r.Connections != 0 || r.Failed != 10 || !strings.Contains(r.Error, "no answer within") {
		t.Errorf("%+v", r)
	}
	job.PerSecond = 0
	if _, err := runArrivals(t.Context(), &job); !errors.Is(err, errNoRate) {
		t.Errorf("without a rate: %v", err)
	}
}
