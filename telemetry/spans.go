// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-gateway/tandem/proxy"
)

// The spans of a connection, below one that is named connection.
const (
	SpanConnection = "connection"
	SpanAccept     = "accept"    // until it is known whether the client has to prove who it is, or what it wants
	SpanAuthorise  = "authorise" // until that is found out
	SpanResolve    = "resolve"   // the name
	SpanDial       = "dial"      // all hops and addresses that were tried
	SpanRelay      = "relay"     // bytes
	SpanClose      = "close"     // since one of the streams has ended, or after a refusal
)

// step is one span, from and until, since the start of the connection.
type step struct {
	name        string
	from, until time.Duration
}

// stepsOf finds out which steps a connection has taken: each lasts until the
// next moment that is known.
func stepsOf(r *proxy.Record) []step {
	first := func(moments ...time.Duration) time.Duration {
		for _, m := range moments {
			if m > 0 {
				return min(m, r.Duration)
			}
		}
		return r.Duration
	}
	steps := []step{{SpanAccept, 0, first(r.Authorising, r.Requested)}}
	if r.Authorising > 0 {
		steps = append(steps, step{SpanAuthorise, r.Authorising, first(r.Requested)})
	}
	if r.Resolving > 0 {
		steps = append(steps, step{SpanResolve, r.Resolving, first(r.Dialling)})
	}
	if r.Dialling > 0 {
		steps = append(steps, step{SpanDial, r.Dialling, first(r.Connected)})
	}
	if r.Connected > 0 {
		steps = append(steps, step{SpanRelay, r.Connected, first(r.HalfClosed)})
	}
	if r.HalfClosed > 0 {
		steps = append(steps, step{SpanClose, r.HalfClosed, r.Duration})
	}
	return steps
}

// build makes the spans of a connection. Collect gets them as they end.
func (t *traces) build(v *traced) {
	r := &v.record
	end := trace.WithTimestamp(r.Start.Add(r.Duration))
	ctx, root := t.tracer.Start(context.WithValue(context.Background(), idKey{}, v.id), SpanConnection,
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Start), trace.WithAttributes(attributesOf(r)...))
	failed := r.Err != nil && !r.Served
	steps := stepsOf(r)
	for i, s := range steps {
		_, span := t.tracer.Start(ctx, s.name, trace.WithTimestamp(r.Start.Add(s.from)))
		if failed && i == len(steps)-1 {
			span.SetStatus(codes.Error, r.Refused.String())
		}
		span.End(trace.WithTimestamp(r.Start.Add(s.until)))
	}
	if failed {
		root.SetStatus(codes.Error, r.Err.Error())
	}
	root.End(end)
}

func attributesOf(r *proxy.Record) []attribute.KeyValue {
	a := []attribute.KeyValue{
		AttrListener.String(r.Listener),
		attribute.String("client.address", r.Client.Addr().String()),
		attribute.Int("client.port", int(r.Client.Port())),
		attribute.Bool("tandem.client.mptcp", r.ClientMPTCP.MPTCP),
		attribute.Int64("tandem.bytes.up", int64(r.Up)),
		attribute.Int64("tandem.bytes.down", int64(r.Down)),
	}
	if r.Host != "" {
		a = append(a, attribute.String("server.name", r.Host))
	}
	if r.Server.IsValid() {
		a = append(a, attribute.String("server.address", r.Server.Addr().String()), attribute.Int("server.port", int(r.Server.Port())))
	}
	if r.Hop != "" {
		a = append(a, AttrUpstream.String(r.Hop), attribute.Bool("tandem.server.mptcp", r.ServerMPTCP.MPTCP))
	}
	if !r.Served {
		a = append(a, AttrReason.String(r.Refused.String()))
	}
	if r.Err != nil {
		a = append(a, attribute.String("error.message", r.Err.Error()))
	}
	return a
}
