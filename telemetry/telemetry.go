// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"golang.org/x/net/netutil"

	"github.com/tandem-gateway/tandem/proxy"
)

// lastWords is how long the end may take to tell a collector the last figures.
const lastWords = 2 * time.Second

// Options of Start.
type Options struct {
	// Read counts what has been done until now. It may be called by several
	// goroutines at once.
	Read    func() *Sample
	Version string
	Started time.Time
	// Prometheus are where metrics can be scraped, at /metrics.
	Prometheus []netip.AddrPort
	// Listen opens the sockets for that; nil: Listen.
	Listen func(netip.AddrPort) (net.Listener, error)
	OTLP   OTLP
	// Ratio is the share of connections that are traced, 0 to 1. It needs OTLP.
	Ratio float64
	Log   *slog.Logger // nil: slog.Default
}

// OTLP is a collector that is told everything over HTTP.
type OTLP struct {
	Endpoint string        // such as https://collector.example:4318; empty: none
	Interval time.Duration // of metrics, and at most until a trace is sent
	Timeout  time.Duration // of one export
	Headers  map[string]string
	TLS      *tls.Config // nil: that of the system
}

func (o *OTLP) url(signal string) string {
	return strings.TrimSuffix(o.Endpoint, "/") + "/v1/" + signal
}

func (o *Options) resource() *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.name", "tandem"),
		attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", instance),
	)
}

// instance tells this process from others that a collector hears of, its
// predecessor in an upgrade among them, as OpenTelemetry recommends.
var instance = uuid.NewString()

// Telemetry is what is told, until Close.
type Telemetry struct {
	metrics *metrics
	traces  *traces      // nil: none
	http    *http.Server // nil: nobody may scrape
	addrs   []netip.AddrPort
	running sync.WaitGroup
}

// Start begins to tell what Options ask for.
func Start(o Options) (*Telemetry, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Log.Warn("telemetry could not be delivered", "err", err)
	}))
	t := &Telemetry{}
	listeners, err := o.listen()
	if err == nil {
		t.metrics, err = newMetrics(&o)
	}
	if err == nil && o.OTLP.Endpoint != "" && o.Ratio > 0 {
		if t.traces, err = newTraces(&o); err != nil {
			t.metrics.close()
		}
	}
	if err != nil {
		for _, l := range listeners {
			l.Close()
		}
		return nil, err
	}
	if len(listeners) > 0 {
		t.serve(listeners, o.Log)
	}
	return t, nil
}

// Listen opens a socket of plain TCP: a scrape is no business of the path
// managers, and the listeners of clients are counted apart.
func Listen(addr netip.AddrPort) (*net.TCPListener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	l, err := c.Listen(context.Background(), "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func (o *Options) listen() (open []net.Listener, err error) {
	listen := o.Listen
	if listen == nil {
		listen = func(addr netip.AddrPort) (net.Listener, error) { return Listen(addr) }
	}
	for _, a := range o.Prometheus {
		l, err := listen(a)
		if err != nil {
			return open, fmt.Errorf("prometheus: %w", err)
		}
		open = append(open, l)
	}
	return open, nil
}

// maxScrapers bounds the connections of one address for scrapes, which everybody
// may open who can reach it: they must not take the descriptors of clients.
const maxScrapers = 16

func (t *Telemetry) serve(listeners []net.Listener, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", t.metrics.handler)
	t.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	for _, l := range listeners {
		t.addrs = append(t.addrs, l.Addr().(*net.TCPAddr).AddrPort())
		t.running.Go(func() {
			if err := t.http.Serve(netutil.LimitListener(l, maxScrapers)); !errors.Is(err, http.ErrServerClosed) {
				log.Error("metrics cannot be scraped any more", "address", l.Addr(), "err", err)
			}
		})
	}
}

// Addrs are where metrics can be scraped.
func (t *Telemetry) Addrs() []netip.AddrPort { return t.addrs }

// Trace decides whether an ended connection is traced. The identifier of the
// trace (W3C Trace Context: 32 hexadecimal digits) is "" if it is not.
// Trace neither blocks nor keeps the record.
func (t *Telemetry) Trace(r *proxy.Record) string {
	if t == nil || t.traces == nil {
		return ""
	}
	return t.traces.take(r)
}

// Traces tells how many traces were sent and lost.
func (t *Telemetry) Traces() Losses {
	if t == nil || t.traces == nil {
		return Losses{}
	}
	return t.traces.losses()
}

// Leave lets nobody scrape any more; a collector is told on. Another process
// has the sockets.
func (t *Telemetry) Leave() {
	if t != nil && t.http != nil {
		t.http.Close()
	}
}

// Close tells the collector what it has not been told yet, for two seconds at
// most, and ends everything. What could not be delivered is logged.
func (t *Telemetry) Close() {
	if t.http != nil {
		t.http.Close() // an answer that is cut off hurts nobody
	}
	if t.traces != nil {
		t.traces.close()
	}
	t.metrics.close()
	t.running.Wait()
}
