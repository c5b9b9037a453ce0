// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/subscribers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// busy is a sample in which everything has happened.
func busy() *Sample {
	hop := &proxy.HopStats{Reached: 6, FailedServer: 2, FailedHop: 1, SYNData: 4, Fallback: map[string]uint64{"peer_tcp": 1}, TookSum: 2 * time.Second}
	hop.Took[2], hop.Took[len(hop.Took)-1] = 5, 1
	causes := map[paths.Cause]uint64{paths.ByPolicy: 3, paths.PathLost: 1}
	return &Sample{
		Proxy: proxy.Stats{
			Listeners: map[string]*proxy.ListenerStats{
				"phones": {Accepted: 10, Served: 7, Up: 1000, Down: 5_000_000_000, Active: 2, MPTCP: 8, TCP: map[string]uint64{"peer_tcp": 2}, Refused: map[string]uint64{"destination": 1, "limit-pending": 2}},
				"lan":    {Accepted: 1, TCP: map[string]uint64{"peer_tcp": 1}},
			},
			Hops:     map[string]*proxy.HopStats{"hag/192.0.2.1:8803": hop},
			Networks: map[string]proxy.NetworkStats{"dsl": {Up: 3, Down: 4_000_000_000}, "other": {Up: 1}},
			Loops:    2, Starving: true, Pauses: 3,
			Options: proxy.OptionStats{options.InitialWindow: {options.Capped: 2}},
		},
		Upstreams:      map[string][]proxy.HopStatus{"hag": {{Name: "hag/192.0.2.1:8803", Up: true, Took: 5 * time.Millisecond}, {Name: "hag/192.0.2.2:8803"}}},
		Paths:          &paths.Counters{Opened: causes, Closed: causes, Failed: causes, Healed: causes, Events: 100, LostEvents: 1, Adopted: 2},
		OptionsIgnored: 3,
		HeldJoins:      &bpf.HeldJoins{Held: 5, GivenUp: 1},
		Subscribers: &Subscribers{
			Policies:   map[string]subscribers.PolicyStats{"": {Subscribers: 1}, "gold": {Subscribers: 2, Connections: 7, Over: 1, Up: 10, Down: 6_000_000_000}},
			Answers:    subscribers.Stats{Granted: 5, Rejected: 2, Away: 1, Cached: 9},
			Accounting: Losses{Written: 4, Dropped: 1}, Waiting: 2,
		},
		Version: "v1.2.3", Started: time.Unix(1_800_000_000, 0), LoopDelay: time.Millisecond, OpenFiles: 40, FileLimit: 20000,
		Records: Losses{Written: 9, Dropped: 1}, Traces: Losses{Written: 2, Failed: 3},
	}
}

// collector is an OTLP receiver.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	metrics map[string]*metricspb.Metric
	spans   []*tracepb.Span
	headers http.Header
	wrong   []string
}

func newCollector(t *testing.T, tls bool) *collector {
	t.Helper()
	c := &collector{metrics: map[string]*metricspb.Metric{}}
	c.Server = httptest.NewUnstartedServer(c)
	if tls {
		c.StartTLS()
	} else {
		c.Start()
	}
	t.Cleanup(func() {
		c.Close()
		for _, w := range c.wrong {
			t.Error("collector: " + w)
		}
	})
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = r.Header
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			c.wrong = append(c.wrong, err.Error())
			return
		}
	}
	data, err := io.ReadAll(body)
	if err == nil {
		err = c.take(r.URL.Path, data)
	}
	if err != nil {
		c.wrong = append(c.wrong, err.Error())
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (c *collector) take(path string, data []byte) error {
	switch path {
	case "/v1/metrics":
		var m collectmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(data, &m); err != nil {
			return err
		}
		for _, r := range m.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				for _, one := range s.Metrics {
					c.metrics[one.Name] = one
				}
			}
		}
	case "/v1/traces":
		var m collecttraces.ExportTraceServiceRequest
		if err := proto.Unmarshal(data, &m); err != nil {
			return err
		}
		for _, r := range m.ResourceSpans {
			for _, s := range r.ScopeSpans {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	default:
		c.wrong = append(c.wrong, "asked for "+path)
	}
	return nil
}

// allowed are the attributes that metrics may have: all of them name something
// of the configuration, or have a fixed set of values.
var allowed = []attribute.Key{AttrListener, AttrUpstream, AttrReason, AttrDirection, AttrOption, AttrPolicy, AttrNetwork, AttrVersion, AttrGo}

// scrape asks for metrics as Prometheus does.
func scrape(t *testing.T, tel *Telemetry) string {
	t.Helper()
	r, err := http.Get("http://" + tel.Addrs()[0].String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, error %v", r.StatusCode, err)
	}
	return string(b)
}

// series are the lines of a scrape that are ours, without their values.
func series(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "tandem_") {
			all = append(all, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return all
}
