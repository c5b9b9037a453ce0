// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/subscribers"
)

var anyPort = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}

func start(t *testing.T, o Options) *Telemetry {
	t.Helper()
	tel, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tel.Close)
	return tel
}

func TestPrometheusSeesEveryMetric(t *testing.T) {
	text := scrape(t, start(t, Options{Read: busy, Prometheus: anyPort}))
	for _, want := range []string{
		`tandem_connections_total{tandem_listener="phones"} 10`,
		`tandem_connections_active{tandem_listener="phones"} 2`,
		`tandem_connections_refused_total{reason="limit-pending",tandem_listener="phones"} 2`,
		`tandem_io_bytes_total{network_io_direction="receive",tandem_listener="phones"} 5e+09`,
		`tandem_dials_failed_total{reason="hop",tandem_upstream="hag/192.0.2.1:8803"} 1`,
		`tandem_upstream_up{tandem_upstream="hag/192.0.2.2:8803"} 0`,
		`tandem_dial_duration_seconds_bucket{tandem_upstream="hag/192.0.2.1:8803",le="0.005"} 5`,
		`tandem_dial_duration_seconds_count{tandem_upstream="hag/192.0.2.1:8803"} 6`,
		`tandem_dial_duration_seconds_sum{tandem_upstream="hag/192.0.2.1:8803"} 2`,
		`tandem_subflows_healed_total{reason="` + paths.PathLost.String() + `"} 1`,
		`tandem_options_asked_total{reason="capped",tandem_option="initial-window"} 2`,
		`tandem_options_ignored_total 3`,
		`tandem_subflows_held_total 5`,
		`tandem_subflows_given_up_total 1`,
		`tandem_access_network_io_bytes_total{network_io_direction="receive",tandem_access_network="dsl"} 4e+09`,
		`tandem_subscribers{tandem_policy="default"} 1`,
		`tandem_subscribers_over_quota{tandem_policy="gold"} 1`,
		`tandem_subscribers_io_bytes_total{network_io_direction="receive",tandem_policy="gold"} 6e+09`,
		`tandem_authentications_total{reason="rejected"} 2`,
		`tandem_accounting_waiting 2`,
		`tandem_accept_starving 1`,
		`tandem_records_lost_total{reason="overload"} 1`,
		`go_goroutines`, `process_open_fds`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, in := range instruments {
		name := strings.ReplaceAll(in.name, ".", "_")
		if !slices.ContainsFunc(series(text), func(s string) bool { return strings.HasPrefix(s, name) }) {
			t.Errorf("no series of %s", in.name)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestScrapeIsWellFormed has promtool of Prometheus look at a scrape.
func TestScrapeIsWellFormed(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: Debian package prometheus")
	}
	check := exec.Command(promtool, "check", "metrics")
	var ours strings.Builder
	for line := range strings.Lines(scrape(t, start(t, Options{Read: busy, Prometheus: anyPort}))) {
		if strings.HasPrefix(line, "tandem_") || strings.HasPrefix(line, "# ") && strings.Contains(line, " tandem_") {
			ours.WriteString(line)
		}
	}
	check.Stdin = strings.NewReader(ours.String())
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestCardinality counts the series of a gateway with as many listeners and
// hops as given, after everything that can happen has happened to a million
// clients. More clients make no more of them.
func TestCardinality(t *testing.T) {
	const listeners, hops = 3, 4
	s := busy()
	s.Proxy.Listeners, s.Proxy.Hops, s.Upstreams = map[string]*proxy.ListenerStats{}, map[string]*proxy.HopStats{}, map[string][]proxy.HopStatus{}
	refused, fallbacks, causes := map[string]uint64{}, map[string]uint64{}, map[paths.Cause]uint64{}
	for r := range proxy.NumReasons {
		refused[proxy.Reason(r).String()] = 1e6
	}
	for r := range mptcp.NumReasons {
		fallbacks[mptcp.FallbackReason(r).String()] = 1e6
	}
	for c := paths.NoCause; c <= paths.Drained; c++ {
		causes[c] = 1e6
	}
	s.Paths.Opened, s.Paths.Closed, s.Paths.Failed, s.Paths.Healed = causes, causes, causes, causes
	for i := range listeners {
		s.Proxy.Listeners[fmt.Sprintf("listener%d", i)] = &proxy.ListenerStats{Accepted: 1e6, Refused: refused, TCP: fallbacks}
	}
	for i := range hops {
		name := fmt.Sprintf("hop%d", i)
		s.Proxy.Hops[name] = &proxy.HopStats{Reached: 1e6, Fallback: fallbacks}
		s.Upstreams[name] = []proxy.HopStatus{{Name: name}}
	}
	const policies, perPolicy = 5, 5
	s.Subscribers.Policies = map[string]subscribers.PolicyStats{}
	for i := range policies {
		s.Subscribers.Policies[fmt.Sprintf("policy%d", i)] = subscribers.PolicyStats{Subscribers: 1e6}
	}
	all := series(scrape(t, start(t, Options{Read: func() *Sample { return s }, Prometheus: anyPort})))
	perListener := 6 + proxy.NumReasons + mptcp.NumReasons
	perHop := 6 + mptcp.NumReasons + len(proxy.DialBounds) + 1 + 2
	fixed := 4*len(causes) + 34 + policies*perPolicy + 7 + 4
	if most := listeners*perListener + hops*perHop + fixed; len(all) > most || len(all) < most-10 {
		t.Errorf("%d series, want at most %d:\n%s", len(all), most, strings.Join(all, "\n"))
	}
	for _, one := range all {
		_, labels, _ := strings.Cut(strings.TrimSuffix(one, "}"), "{")
		for label := range strings.SplitSeq(labels, ",") {
			key, _, _ := strings.Cut(label, "=")
			if key != "" && key != "le" && !slices.ContainsFunc(allowed, func(a attribute.Key) bool { return strings.ReplaceAll(string(a), ".", "_") == key }) {
				t.Errorf("%s has the label %s", one, key)
			}
		}
	}
}

func TestCollectorGetsMetrics(t *testing.T) {
	c := newCollector(t, true)
	trust := x509.NewCertPool()
	trust.AddCert(c.Certificate())
	o := OTLP{Endpoint: c.URL, Interval: 20 * time.Millisecond, Timeout: 10 * time.Second, Headers: map[string]string{"X-Tenant": "home"}, TLS: &tls.Config{RootCAs: trust}}
	start(t, Options{Read: busy, Version: "v1.2.3", OTLP: o})
	await(t, "metrics", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.metrics["tandem.connections"] != nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.headers.Get("X-Tenant"); got != "home" {
		t.Errorf("header %q", got)
	}
	for _, in := range instruments {
		m := c.metrics[in.name]
		if m == nil {
			t.Errorf("no %s", in.name)
			continue
		}
		sum := m.GetSum()
		ok := in.kind == gauge && m.GetGauge() != nil || in.kind != gauge && sum != nil && sum.IsMonotonic == (in.kind == counter) &&
			sum.AggregationTemporality == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
		if !ok || m.Unit != in.unit || m.Description != in.about {
			t.Errorf("%s came as %v", in.name, m)
		}
	}
	h := c.metrics[dialHistogram].GetHistogram()
	if h == nil || len(h.DataPoints) != 1 || h.DataPoints[0].Count != 6 || len(h.DataPoints[0].ExplicitBounds) != len(proxy.DialBounds) {
		t.Errorf("%s came as %v", dialHistogram, h)
	}
}

func TestDocumentationHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range instruments {
		if row := fmt.Sprintf("| `%s` | %s |", in.name, in.unit); !strings.Contains(string(text), row) {
			t.Errorf("docs/telemetry.md has no row that begins with %s", row)
		}
	}
}
