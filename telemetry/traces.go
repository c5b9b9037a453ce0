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
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

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
	client    otlptrace.Client
	timeout   time.Duration
	upload    []*tracepb.ResourceSpans // the one of this process
	spans     *tracepb.ScopeSpans      // in it: those of the present batch

	sent, failed atomic.Uint64

	stop    context.CancelFunc
	ending  context.Context // ends all exports
	abort   context.CancelFunc
	running sync.WaitGroup
}

func newTraces(o *Options) (*traces, error) {
	t := &traces{
		threshold: threshold(o.Ratio),
		queue:     queue.New[traced](traceRoom, traceBatch),
		client: otlp.NewClient(
			otlp.WithEndpointURL(o.OTLP.url("traces")), otlp.WithHeaders(o.OTLP.Headers),
			otlp.WithTLSClientConfig(o.OTLP.TLS), otlp.WithTimeout(o.OTLP.Timeout)),
		timeout: o.OTLP.Timeout,
		spans:   &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: scope}},
	}
	if err := t.client.Start(context.Background()); err != nil {
		return nil, fmt.Errorf("otlp traces: %w", err)
	}
	var about attributes
	for _, a := range o.resource().Attributes() {
		about.text(a.Key, a.Value.AsString())
	}
	t.upload = []*tracepb.ResourceSpans{{Resource: &resourcepb.Resource{Attributes: about}, ScopeSpans: []*tracepb.ScopeSpans{t.spans}}}
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
	id := newID()
	if !t.queue.Put(&traced{id, *r}) {
		return ""
	}
	return id.String()
}

func newID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], max(rand.Uint64(), 1)) // all zero would be no identifier
	return id
}

// export sends the traces of some connections.
func (t *traces) export(batch []traced) {
	for len(batch) > 0 {
		n := min(len(batch), traceBatch)
		for i := range batch[:n] {
			t.spans.Spans = appendSpans(t.spans.Spans, &batch[i])
		}
		ctx, cancel := context.WithTimeout(t.ending, t.timeout)
		if err := t.client.UploadTraces(ctx, t.upload); err != nil {
			t.failed.Add(uint64(n))
		} else {
			t.sent.Add(uint64(n))
		}
		cancel()
		clear(t.spans.Spans)
		t.spans.Spans = t.spans.Spans[:0]
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
	_ = t.client.Stop(ctx) // holds nothing
}
