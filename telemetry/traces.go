// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	otlp "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/telemetry/queue"
)

const (
	traceRoom  = 4096 // connections whose traces may wait
	traceBatch = 128  // connections in one export
	traceDelay = time.Second
)

// traced is a connection whose trace is to be sent.
type traced struct {
	id     trace.TraceID
	record proxy.Record
}

// traces makes spans of ended connections and sends them.
type traces struct {
	threshold uint64 // of the lower half of an id
	queue     *queue.Queue[traced]
	exporter  *otlptrace.Exporter
	provider  *sdk.TracerProvider
	tracer    trace.Tracer
	timeout   time.Duration
	spans     []sdk.ReadOnlySpan // of the present batch

	sent, failed atomic.Uint64

	stop    context.CancelFunc
	ending  context.Context // ends all exports
	abort   context.CancelFunc
	running sync.WaitGroup
}

func newTraces(o *Options) (*traces, error) {
	exporter, err := otlp.New(context.Background(),
		otlp.WithEndpointURL(o.OTLP.url("traces")), otlp.WithHeaders(o.OTLP.Headers),
		otlp.WithTLSClientConfig(o.OTLP.TLS), otlp.WithTimeout(o.OTLP.Timeout), otlp.WithCompression(otlp.GzipCompression))
	if err != nil {
		return nil, fmt.Errorf("otlp traces: %w", err)
	}
	t := &traces{
		threshold: threshold(o.Ratio),
		queue:     queue.New[traced](traceRoom, traceBatch),
		exporter:  exporter,
		timeout:   o.OTLP.Timeout,
	}
	t.provider = sdk.NewTracerProvider(sdk.WithResource(o.resource()), sdk.WithSampler(sdk.AlwaysSample()),
		sdk.WithIDGenerator(chosen{}), sdk.WithSpanProcessor(collect{t}))
	t.tracer = t.provider.Tracer(scope)
	var ctx context.Context
	ctx, t.stop = context.WithCancel(context.Background())
	t.ending, t.abort = context.WithCancel(context.Background())
	delay := traceDelay
	if o.OTLP.Interval > 0 {
		delay = min(delay, o.OTLP.Interval)
	}
	t.running.Go(func() { t.queue.Run(ctx, delay, t.export) })
	return t, nil
}

func threshold(ratio float64) uint64 {
	if ratio >= 1 {
		return math.MaxUint64
	}
	return uint64(ratio * (1 << 63) * 2)
}

// chosen decides whether a connection is traced.
func (t *traces) chosen() bool { return rand.Uint64() <= t.threshold }

// take queues a connection, if it is chosen, and returns its identifier.
func (t *traces) take(r *proxy.Record) string {
	if !t.chosen() {
		return ""
	}
	var id trace.TraceID
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], max(rand.Uint64(), 1)) // all zero would be no identifier
	if !t.queue.Put(&traced{id, *r}) {
		return ""
	}
	return id.String()
}

// export sends the traces of some connections.
func (t *traces) export(batch []traced) {
	for len(batch) > 0 {
		n := min(len(batch), traceBatch)
		t.spans = t.spans[:0]
		for i := range batch[:n] {
			t.build(&batch[i])
		}
		ctx, cancel := context.WithTimeout(t.ending, t.timeout)
		if err := t.exporter.ExportSpans(ctx, t.spans); err != nil {
			t.failed.Add(uint64(n))
		} else {
			t.sent.Add(uint64(n))
		}
		cancel()
		batch = batch[n:]
	}
}

func (t *traces) losses() Losses {
	return Losses{Written: t.sent.Load(), Dropped: t.queue.Dropped(), Failed: t.failed.Load()}
}

func (t *traces) close() {
	late := time.AfterFunc(lastWords, t.abort)
	defer late.Stop()
	t.stop()
	t.running.Wait()
	t.abort()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // holds nothing
	_ = t.exporter.Shutdown(ctx) // likewise
}

// collect gathers the spans that build ends. It implements sdk.SpanProcessor.
type collect struct{ t *traces }

func (c collect) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (c collect) OnEnd(s sdk.ReadOnlySpan)                   { c.t.spans = append(c.t.spans, s) }
func (c collect) Shutdown(context.Context) error             { return nil }
func (c collect) ForceFlush(context.Context) error           { return nil }

type idKey struct{}

// chosen gives a trace the identifier that is in its context.
type chosen struct{}

// NewIDs implements sdk.IDGenerator.
func (c chosen) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(idKey{}).(trace.TraceID)
	return id, c.NewSpanID(ctx, id)
}

// NewSpanID implements sdk.IDGenerator.
func (chosen) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], max(rand.Uint64(), 1))
	return id
}
