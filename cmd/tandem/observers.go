// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/resolve"
	"github.com/tandem-gateway/tandem/records"
	"github.com/tandem-gateway/tandem/telemetry"
)

// observers are told what becomes of connections. It implements proxy.Recorder.
type observers struct {
	log       connectionLog
	lookups   resolve.Counters
	telemetry atomic.Pointer[telemetry.Telemetry] // nil: none
	keeper    atomic.Pointer[records.Keeper]      // nil: none

	inherited, scrapes []tcpSocket // of a predecessor, and those that are listened on

	// What they were started with.
	telemetryConfig config.Telemetry
	recordsConfig   config.Records
}

// Record implements proxy.Recorder.
func (o *observers) Record(r *proxy.Record) {
	trace := o.telemetry.Load().Trace(r)
	o.log.record(r, trace)
	if k := o.keeper.Load(); k != nil {
		k.Keep(r, trace)
	}
}

// start begins to tell and to keep what a configuration asks for.
func (o *observers) start(g *gateway, c *config.Config) error {
	o.telemetryConfig, o.recordsConfig = c.Telemetry, c.Records
	if k := recordsOptions(&c.Records, g.log); k.File.Path != "" || len(k.IPFIX.Collectors) > 0 {
		keeper, err := records.NewKeeper(k)
		if err != nil {
			return err
		}
		g.server.KeepLocal(true)
		o.keeper.Store(keeper)
	}
	t := &c.Telemetry
	if len(t.Prometheus.Listen) == 0 && t.OTLP.Endpoint == "" {
		return nil
	}
	options, err := telemetryOptions(t)
	if err != nil {
		return fmt.Errorf("telemetry.otlp: %w", err)
	}
	options.Read, options.Version, options.Started, options.Log = g.sample, version, g.started, g.log
	options.Listen = o.listen
	running, err := telemetry.Start(options)
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	o.telemetry.Store(running)
	return nil
}

// apply looks at a new configuration, and says what of it waits.
func (o *observers) apply(c *config.Config) (late string) {
	if !reflect.DeepEqual(c.Telemetry, o.telemetryConfig) || !reflect.DeepEqual(c.Records, o.recordsConfig) {
		return "telemetry and records change when tandem is started again"
	}
	return ""
}

// stop tells and keeps what waits. No connection ends any more.
func (o *observers) stop(log *slog.Logger) {
	if k := o.keeper.Load(); k != nil {
		if err := k.Close(); err != nil {
			log.Error("cannot close the records of connections", "err", err)
		}
		if s := k.Stats(); s.Dropped+s.Failed > 0 {
			log.Warn("records of connections were lost", "overload", s.Dropped, "errors", s.Failed)
		}
	}
	if t := o.telemetry.Load(); t != nil {
		t.Close()
	}
}

func recordsOptions(c *config.Records, log *slog.Logger) records.Options {
	return records.Options{
		File: records.FileOptions{Path: c.File.Path, MaxSize: int64(c.File.MaxSize), MaxAge: c.File.MaxAge, Keep: c.File.Keep},
		IPFIX: records.ExporterOptions{
			Collectors: c.IPFIX.Collectors, TCP: c.IPFIX.Transport == config.TransportTCP,
			Domain: c.IPFIX.Domain, Templates: c.IPFIX.Templates,
		},
		Room: c.Room,
		Log:  log,
	}
}

func telemetryOptions(c *config.Telemetry) (telemetry.Options, error) {
	o := telemetry.Options{Prometheus: c.Prometheus.Listen, Ratio: c.Traces.Ratio}
	o.OTLP = telemetry.OTLP{Endpoint: c.OTLP.Endpoint, Interval: c.OTLP.Interval, Timeout: c.OTLP.Timeout, Headers: map[string]string{}}
	for _, h := range c.OTLP.Headers {
		value := h.Value
		if h.ValueFile != "" {
			var err error
			if value, err = config.ReadSecret(h.ValueFile); err != nil {
				return o, err
			}
		}
		o.OTLP.Headers[h.Name] = value
	}
	if c.OTLP.CAFile == "" && c.OTLP.CertFile == "" {
		return o, nil
	}
	o.OTLP.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.OTLP.CAFile != "" {
		pem, err := os.ReadFile(c.OTLP.CAFile)
		if err != nil {
			return o, err
		}
		o.OTLP.TLS.RootCAs = x509.NewCertPool()
		if !o.OTLP.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("%s: %w", c.OTLP.CAFile, errNoCertificate)
		}
	}
	if c.OTLP.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.OTLP.CertFile, c.OTLP.KeyFile)
		if err != nil {
			return o, err
		}
		o.OTLP.TLS.Certificates = []tls.Certificate{own}
	}
	return o, nil
}

var errNoCertificate = errors.New("want certificates in PEM")

// loopPatience is how long an event loop may take to answer; one that takes longer
// is in trouble, and the figure says at least that.
const loopPatience = time.Second

// sample is what has been counted until now.
func (g *gateway) sample() *telemetry.Sample {
	s := &telemetry.Sample{
		Proxy: g.server.Stats(), Resolver: g.observers.lookups.Stats(), Upstreams: map[string][]proxy.HopStatus{},
		Version: version, Started: g.started, FileLimit: g.machine.files, OpenFiles: openFiles(),
		Traces: g.observers.telemetry.Load().Traces(), OptionsIgnored: g.tuner.ignored(),
		HeldJoins: g.heldJoins(),
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), loopPatience)
	defer cancel()
	_ = g.server.Alive(ctx) // how long it took says it
	s.LoopDelay = time.Since(asked)
	if e := g.paths.engine.Load(); e != nil {
		c := e.Counters()
		s.Paths = &c
	}
	if k := g.observers.keeper.Load(); k != nil {
		s.Records = telemetry.Losses(k.Stats())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Draining, s.Subscribers = g.ending, g.subscriberSample()
	for name, u := range g.current.upstreams {
		if u.pool != nil {
			s.Upstreams[name] = u.pool.Status()
		}
	}
	return s
}

// openFiles counts descriptors: since Linux 6.2 that is the size of a directory.
func openFiles() uint64 {
	const dir = "/proc/self/fd"
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return uint64(info.Size())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	return uint64(len(entries))
}
