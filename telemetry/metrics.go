// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otlp "go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	bridge "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// metrics are what is read from the counters of a gateway, by whoever asks.
type metrics struct {
	read     func() *Sample
	sample   atomic.Pointer[Sample] // of the collection under way, for dials
	provider *sdk.MeterProvider
	handler  http.Handler // nil: nobody may ask
}

// newMetrics has metrics read for Prometheus, if asked to, and for a collector.
func newMetrics(o *Options) (*metrics, error) {
	m := &metrics{read: o.Read}
	options := []sdk.Option{sdk.WithResource(o.resource())}
	producer := dials{m, o.Started}
	if len(o.Prometheus) > 0 {
		registry := prometheus.NewRegistry()
		reader, err := bridge.New(bridge.WithRegisterer(registry), bridge.WithProducer(producer), bridge.WithoutScopeInfo())
		if err != nil {
			return nil, fmt.Errorf("prometheus: %w", err)
		}
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
		options = append(options, sdk.WithReader(reader))
	}
	if o.OTLP.Endpoint != "" {
		exporter, err := otlp.New(context.Background(),
			otlp.WithEndpointURL(o.OTLP.url("metrics")), otlp.WithHeaders(o.OTLP.Headers),
			otlp.WithTLSClientConfig(o.OTLP.TLS), otlp.WithTimeout(o.OTLP.Timeout))
		if err != nil {
			return nil, fmt.Errorf("otlp metrics: %w", err)
		}
		options = append(options, sdk.WithReader(sdk.NewPeriodicReader(exporter,
			sdk.WithInterval(o.OTLP.Interval), sdk.WithTimeout(o.OTLP.Timeout), sdk.WithProducer(producer))))
	}
	m.provider = sdk.NewMeterProvider(options...)
	if err := m.register(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

const scope = "github.com/tandem-gateway/tandem"

// register makes the instruments, which are all read from one sample.
func (m *metrics) register() error {
	meter := m.provider.Meter(scope)
	observed := make([]metric.Observable, len(instruments))
	puts := make([]func(metric.Observer, *Sample), len(instruments))
	for i, in := range instruments {
		o, observe, err := in.create(meter)
		if err != nil {
			return fmt.Errorf("metric %s: %w", in.name, err)
		}
		observed[i], puts[i] = o, observe
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := m.read()
		m.sample.Store(s)
		for _, p := range puts {
			p(o, s)
		}
		return nil
	}, observed...)
	return err
}

func (in *instrument) create(meter metric.Meter) (metric.Observable, func(metric.Observer, *Sample), error) {
	unit, about := metric.WithUnit(in.unit), metric.WithDescription(in.about)
	integer := func(o metric.Int64Observable) func(metric.Observer, *Sample) {
		return func(to metric.Observer, s *Sample) {
			in.read(s, func(v float64, a ...attribute.KeyValue) { to.ObserveInt64(o, int64(v), metric.WithAttributes(a...)) })
		}
	}
	switch in.kind {
	case counter:
		o, err := meter.Int64ObservableCounter(in.name, unit, about)
		return o, integer(o), err
	case level:
		o, err := meter.Int64ObservableUpDownCounter(in.name, unit, about)
		return o, integer(o), err
	}
	o, err := meter.Float64ObservableGauge(in.name, unit, about)
	return o, func(to metric.Observer, s *Sample) {
		in.read(s, func(v float64, a ...attribute.KeyValue) { to.ObserveFloat64(o, v, metric.WithAttributes(a...)) })
	}, err
}

// dials produces the histogram of how long servers took to be reached. OTel has
// no asynchronous histogram, and a synchronous one would take a lock that all
// event loops share.
type dials struct {
	metrics *metrics
	since   time.Time
}

// Produce implements sdk/metric.Producer. A collection calls it after the
// instruments have read their sample, which is good enough.
func (d dials) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
	now := time.Now()
	s := d.metrics.sample.Swap(nil)
	if s == nil { // another collection took it
		s = d.metrics.read()
	}
	for name, hop := range s.Proxy.Hops {
		p := metricdata.HistogramDataPoint[float64]{
			Attributes: attribute.NewSet(AttrUpstream.String(name)),
			StartTime:  d.since, Time: now,
			Bounds: dialBounds(), BucketCounts: hop.Took[:], Sum: hop.TookSum.Seconds(),
		}
		for _, n := range hop.Took {
			p.Count += n
		}
		h.DataPoints = append(h.DataPoints, p)
	}
	if len(h.DataPoints) == 0 {
		return nil, nil
	}
	out := metricdata.ScopeMetrics{Metrics: []metricdata.Metrics{{Name: dialHistogram, Unit: "s", Description: dialAbout, Data: h}}}
	out.Scope.Name = scope
	return []metricdata.ScopeMetrics{out}, nil
}

// close tells the collector the last figures.
func (m *metrics) close() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if err := m.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}
