// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tandem-gateway/tandem/proxy"
)

var began = time.Unix(1_800_000_000, 0)

func record() *proxy.Record {
	return &proxy.Record{
		Listener: "phones", Client: netip.MustParseAddrPort("192.0.2.7:40000"),
		Host: "www.example.com", Server: netip.MustParseAddrPort("198.51.100.80:443"), Hop: "direct", Served: true,
		Start: began, Duration: time.Second, Up: 100, Down: 2000,
		Moments: proxy.Moments{
			Authorising: time.Millisecond, Requested: 3 * time.Millisecond, Resolving: 3 * time.Millisecond,
			Dialling: 10 * time.Millisecond, Connected: 30 * time.Millisecond, HalfClosed: 900 * time.Millisecond,
		},
	}
}

func TestCollectorGetsTraces(t *testing.T) {
	c := newCollector(t, false)
	tel := start(t, Options{Read: busy, Ratio: 1, OTLP: OTLP{Endpoint: c.URL, Interval: 20 * time.Millisecond, Timeout: 10 * time.Second}})
	id := tel.Trace(record())
	refused := record()
	refused.Served, refused.Refused, refused.Err = false, proxy.RefusedServer, errors.New("connection refused")
	refused.Connected, refused.HalfClosed = 0, 0
	failed := tel.Trace(refused)
	await(t, "both traces", func() bool { return tel.Traces().Written == 2 })
	c.mu.Lock()
	defer c.mu.Unlock()
	type span struct{ from, until time.Duration }
	of := func(id string) (map[string]span, map[string]tracepb.Status_StatusCode) {
		got, states := map[string]span{}, map[string]tracepb.Status_StatusCode{}
		var root []byte
		for _, s := range c.spans {
			if hex.EncodeToString(s.TraceId) == id && s.Name == SpanConnection {
				root = s.SpanId
			}
		}
		for _, s := range c.spans {
			if hex.EncodeToString(s.TraceId) != id {
				continue
			}
			if s.Name != SpanConnection && string(s.ParentSpanId) != string(root) {
				t.Errorf("the parent of %s is %x, want %x", s.Name, s.ParentSpanId, root)
			}
			at := func(ns uint64) time.Duration { return time.Unix(0, int64(ns)).Sub(began) }
			got[s.Name] = span{at(s.StartTimeUnixNano), at(s.EndTimeUnixNano)}
			states[s.Name] = s.Status.GetCode()
		}
		return got, states
	}
	const ms = time.Millisecond
	got, _ := of(id)
	want := map[string]span{
		SpanConnection: {0, time.Second}, SpanAccept: {0, ms}, SpanAuthorise: {ms, 3 * ms}, SpanResolve: {3 * ms, 10 * ms},
		SpanDial: {10 * ms, 30 * ms}, SpanRelay: {30 * ms, 900 * ms}, SpanClose: {900 * ms, time.Second},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(span{})); d != "" {
		t.Errorf("spans (-want +got):\n%s", d)
	}
	got, states := of(failed)
	if _, ok := got[SpanRelay]; ok || got[SpanDial] != (span{10 * ms, time.Second}) {
		t.Errorf("spans of a refused one: %v", got)
	}
	if states[SpanDial] != tracepb.Status_STATUS_CODE_ERROR || states[SpanConnection] != tracepb.Status_STATUS_CODE_ERROR || states[SpanResolve] == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("states of a refused one: %v", states)
	}
}

// TestANameThatIsNoUTF8 has a client ask for one, and another one not.
func TestANameThatIsNoUTF8(t *testing.T) {
	c := newCollector(t, false)
	tel := start(t, Options{Read: busy, Ratio: 1, OTLP: OTLP{Endpoint: c.URL, Interval: 20 * time.Millisecond, Timeout: 10 * time.Second}})
	odd := record()
	odd.Host, odd.Served, odd.Err = "a\xff.example", false, errors.New("no such host: a\xff.example")
	tel.Trace(odd)
	tel.Trace(record())
	await(t, "both traces", func() bool { return tel.Traces().Written == 2 })
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, s := range c.spans {
		for _, a := range s.Attributes {
			if a.Key == "server.name" {
				names = append(names, a.Value.GetStringValue())
			}
		}
	}
	if d := cmp.Diff([]string{"a\ufffd.example", "www.example.com"}, names); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

// TestRatio takes 40,000 decisions: a tenth of them is 4,000 with a standard
// deviation of 60.
func TestRatio(t *testing.T) {
	tr := &traces{threshold: threshold(0.1)}
	n := 0
	for range 40000 {
		if tr.chosen() {
			n++
		}
	}
	if n < 3500 || n > 4500 {
		t.Errorf("%d of 40000 are traced, want about 4000", n)
	}
}

func TestUntracedConnectionsCostNothing(t *testing.T) {
	tr := &traces{threshold: 0}
	r := record()
	if n := testing.AllocsPerRun(1000, func() { tr.take(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestALostCollectorIsCounted sends traces to nobody.
func TestALostCollectorIsCounted(t *testing.T) {
	tel := start(t, Options{Read: busy, Ratio: 1, OTLP: OTLP{Endpoint: "http://127.0.0.1:1", Interval: 10 * time.Millisecond, Timeout: 50 * time.Millisecond}})
	if tel.Trace(record()) == "" {
		t.Error("not traced")
	}
	await(t, "failure", func() bool { return tel.Traces().Failed == 1 })
}
