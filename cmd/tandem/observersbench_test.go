// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/records"
	"github.com/tandem-gateway/tandem/telemetry"
)

// BenchmarkRecord is the CPU time that the process takes for each connection that
// ends, ten thousand of them per second: with records in a file, metrics each second
// and 1 % of connections traced, the receiver of which is in the process, and with
// nothing. What the kernel is asked for while the connection is opened is not in it.
func BenchmarkRecord(b *testing.B) {
	const pace, each = 10 * time.Millisecond, 100
	for _, telling := range []bool{false, true} {
		name := "silent"
		if telling {
			name = "telling"
		}
		b.Run(name, func(b *testing.B) {
			o := &observers{log: connectionLog{slog.New(slog.DiscardHandler)}}
			if telling {
				o.tellForBenchmark(b)
			}
			r := proxy.Record{
				Listener: "relay", Client: netip.MustParseAddrPort("192.0.2.1:40000"), ClientMPTCP: mptcp.Status{MPTCP: true},
				Server: netip.MustParseAddrPort("203.0.113.80:7"), Hop: "direct", ServerMPTCP: mptcp.Status{Reason: mptcp.NotAsked},
				Local: netip.MustParseAddrPort("203.0.113.80:50000"), Served: true,
				Moments:  proxy.Moments{Requested: time.Microsecond, Dialling: 2 * time.Microsecond, Connected: time.Millisecond, HalfClosed: 2 * time.Millisecond},
				Duration: 3 * time.Millisecond, Up: 1024, Down: 1024,
			}
			tick := time.NewTicker(pace)
			defer tick.Stop()
			before := processTime(b)
			for b.Loop() {
				<-tick.C
				r.Start = time.Now()
				for range each {
					o.Record(&r)
				}
			}
			b.ReportMetric(float64(processTime(b)-before)/float64(b.N*each), "cpu-ns/conn")
		})
	}
}

// tellForBenchmark has everything told until the benchmark ends.
func (o *observers) tellForBenchmark(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(collector.Close)
	keeper, err := records.NewKeeper(records.Options{File: records.FileOptions{Path: filepath.Join(b.TempDir(), "flows.json")}})
	if err != nil {
		b.Fatal(err)
	}
	o.keeper.Store(keeper)
	stats := proxy.Stats{
		Listeners: map[string]*proxy.ListenerStats{"relay": {Accepted: 1, Served: 1, MPTCP: 1}},
		Hops:      map[string]*proxy.HopStats{"direct": {Reached: 1}},
	}
	t, err := telemetry.Start(telemetry.Options{
		Read:  func() *telemetry.Sample { return &telemetry.Sample{Proxy: stats} },
		OTLP:  telemetry.OTLP{Endpoint: collector.URL, Interval: time.Second, Timeout: time.Minute},
		Ratio: 0.01,
	})
	if err != nil {
		b.Fatal(err)
	}
	o.telemetry.Store(t)
	b.Cleanup(func() { o.stop(slog.New(slog.DiscardHandler)) })
}

// processTime is the CPU time that this process has taken.
func processTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
