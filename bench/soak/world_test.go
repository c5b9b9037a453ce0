// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/radius/radiustest"
)

// patience bounds what ought to happen soon.
const patience = 30 * time.Second

const aggregatorConfig = `
log: {level: warn}
admin: {socket: %[1]s/aggregator.sock}
records: {file: {path: %[1]s/aggregator.flows, max-size: 0, max-age: 0s}, room: 100000}
telemetry:
  prometheus: {listen: ["127.0.0.1:9464"]}
  otlp: {endpoint: "http://203.0.113.80:4318", interval: 1s, timeout: 500ms}
  traces: {ratio: 1}
subscribers:
  quota-file: %[1]s/quotas
  radius:
    servers: [{address: "127.0.0.1:1812", secret: ` + radiustest.Secret + `}]
    timeout: 300ms
    tries: 2
    dead-time: 1s
    cache: {time: 1s, negative: 1s}
    accounting: {servers: [{address: "127.0.0.1:1813", secret: ` + radiustest.Secret + `}], interim: 1m}
    dynamic: {listen: "` + changes + `", clients: [{address: 127.0.0.1, secret: ` + radiustest.Secret + `}]}
listeners:
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803"]
    allow-from: [198.51.100.0/24]
    paths: {manager: fullmesh}
  - name: phones
    type: socks5
    listen: ["` + phones + `"]
    allow-from: [198.51.100.0/24]
    subscribers: required
`

const homeConfig = `
log: {level: warn}
admin: {socket: %[1]s/home.sock}
records: {file: {path: %[1]s/home.flows, max-size: 0, max-age: 0s}, room: 100000}
telemetry: {prometheus: {listen: ["127.0.0.1:9464"]}}
listeners:
  - name: lan
    type: tproxy
    listen: ["0.0.0.0:8804"]
    allow-from: [192.168.1.0/24]
    tproxy: {interfaces: [lan]}
    upstream: hag
upstreams:
  - name: hag
    type: convert
    servers: ["192.0.2.1:8803"]
    when-down: refuse
    mptcp: on
    health: {interval: 1s, timeout: 1s}
    paths: {manager: fullmesh, interfaces: [dsl, lte], keep: 1m}
`

// side is a gateway.
type side struct {
	name   string
	host   *lab.Host
	client *admin.Client
	flows  string         // the file of its records
	log    string         // that of its log
	kernel map[string]int // what its kernel had counted before
	pid    atomic.Int64
	memory []sample

	mu   sync.Mutex
	last map[int]admin.Counters // by process
	old  []int                  // processes that drain
}

type sample struct {
	at  time.Duration
	kib int
}

type world struct {
	*lab.HybridHome
	began            time.Time
	home, aggregator *side
	server           netip.AddrPort
	radius           *radiustest.FreeRADIUS
	collector        *collector
	tally            tally
	happened         [numEvents]int
}

// newWorld starts gateways that speak MPTCP with each other.
func newWorld(t *testing.T) *world {
	t.Helper()
	program, err := filepath.Abs("../../bin/tandem")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("make build first: ", err)
	}
	link := lab.LinkSpec{Rate: 50_000_000}
	w := &world{HybridHome: labtest.HybridHome(t, lab.HybridHomeSpec{DSL: link, LTE: link})}
	w.server = netip.AddrPortFrom(w.ServerAddr.V4, 7)
	w.routeAlways(t)
	serve(t, w.Server, w.server.String())
	echoDatagrams(t, w.Server, w.server.String())
	w.collector = newCollector(t, w.Server)
	w.startRADIUS(t)
	dir := t.TempDir()
	w.aggregator = newSide(t, "aggregator", w.Aggregator, program, dir, fmt.Sprintf(aggregatorConfig, dir))
	w.home = newSide(t, "home", w.CPE, program, dir, fmt.Sprintf(homeConfig, dir))
	return w
}

// routeAlways leaves the aggregator a route to subscribers whose link is down, to
// where nobody is, as routers of the Internet have one. Else its kernel forgets a
// handshake, without counting it, when it finds no route for the SYN-ACK that it
// sends again, and resets a client that takes the connection for open.
func (w *world) routeAlways(t *testing.T) {
	t.Helper()
	for _, access := range []lab.Access{w.DSL, w.LTE} {
		err := w.Aggregator.AddRoute(lab.Route{Dst: netip.PrefixFrom(access.Addr.V4, 25).Masked(), Via: w.ServerAddr.V4, Dev: "core", Metric: 1000})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newSide starts a gateway. What it writes goes to files, which its successors
// write to when it has long ended.
func newSide(t *testing.T, name string, h *lab.Host, program, dir, config string) *side {
	t.Helper()
	base := filepath.Join(dir, name)
	s := &side{name: name, host: h, client: admin.NewClient(base + ".sock"), flows: base + ".flows", log: base + ".log", last: map[int]admin.Counters{}}
	t.Cleanup(s.client.Close)
	if err := os.WriteFile(base+".yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := h.Command(context.Background(), "sh", "-c", `exec "$0" run --config "$1.yaml" >"$1.banner" 2>>"$1.log"`, program, base)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid.Store(int64(p.Pid()))
	t.Cleanup(func() {
		pid := int(s.pid.Load())
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
		labtest.Await(t, patience, name+" to end", func() bool { return !alive(pid) })
		if t.Failed() {
			t.Logf("%s:\n%s", name, tail(s.said(t)))
		}
	})
	labtest.Await(t, patience, name, func() bool {
		select {
		case <-p.Done():
			t.Fatalf("%s has ended: %s", name, s.said(t))
		default:
		}
		banner, err := os.ReadFile(base + ".banner")
		return err == nil && strings.Contains(string(banner), "\nReady.\n")
	})
	return s
}

// said is what the processes have logged.
func (s *side) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tail is the end of a long text.
func tail(s string) string {
	const most = 8000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (w *world) startRADIUS(t *testing.T) {
	w.radius = radiustest.Start(t, radiustest.Config{
		Users: "anna\tCleartext-Password := \"geheim\"\n", Auth: "127.0.0.1:1812", Acct: "127.0.0.1:1813", Within: w.Aggregator.Do,
	})
}

// serve echoes what clients send, to the end of each stream, and says which were
// not right on their way there.
func serve(t *testing.T, h *lab.Host, address string) {
	t.Helper()
	t.Cleanup(serving.Start(listen(t, h, address), func(c net.Conn) {
		check := new(checker)
		n, _ := io.Copy(c, io.TeeReader(c, check)) // the client tells of an error
		if wrong := check.describe(n); wrong != "" {
			t.Errorf("a stream of %d bytes on its way to the server: %s", n, wrong)
		}
	}))
}

func listen(t *testing.T, h *lab.Host, address string) (l net.Listener) {
	t.Helper()
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// collector takes what OTLP exporters send, while it is there.
type collector struct {
	host            *lab.Host
	metrics, traces atomic.Int64 // messages
	server          *http.Server
}

func newCollector(t *testing.T, h *lab.Host) *collector {
	c := &collector{host: h}
	c.start(t)
	t.Cleanup(c.stop)
	return c
}

func (c *collector) start(t *testing.T) {
	t.Helper()
	l := listen(t, c.host, "203.0.113.80:4318")
	c.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a part of one is as good for this
		switch r.URL.Path {
		case "/v1/metrics":
			c.metrics.Add(1)
		case "/v1/traces":
			c.traces.Add(1)
		}
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty message is a whole one
	})}
	go c.server.Serve(l)
}

func (c *collector) stop() { _ = c.server.Close() }

// metric reads a metric of a gateway as Prometheus would.
func (s *side) metric(name string) (float64, error) {
	var c net.Conn
	err := s.host.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", "127.0.0.1:9464", patience)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
		return 0, err
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// look keeps what the process that serves has counted.
func (s *side) look(ctx context.Context) error {
	status, err := s.client.Status(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[status.PID] = status.Connections
	return nil
}

// refused sums up what all processes have refused, by reason.
func (s *side) refused() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[string]uint64{}
	for _, c := range s.last {
		for reason, n := range c.Refused {
			sum[reason] += n
		}
	}
	return sum
}
