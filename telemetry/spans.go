// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

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

// stepsOf appends the steps that a connection has taken: each lasts until the
// next moment that is known.
func stepsOf(r *proxy.Record, steps []step) []step {
	first := func(moments ...time.Duration) time.Duration {
		for _, m := range moments {
			if m > 0 {
				return min(m, r.Duration)
			}
		}
		return r.Duration
	}
	steps = append(steps, step{SpanAccept, 0, first(r.Authorising, r.Requested)})
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

// maxSteps is how many there can be.
const maxSteps = 6

// spanFlags are those of all spans: sampled, and below a parent, if any, of this
// process.
const spanFlags = uint32(trace.FlagsSampled) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)

// appendSpans appends the spans of a connection as OTLP has them. They refer to v.
// They do not come from the SDK, whose spans are made to be begun and ended while
// something happens: it takes four times as long.
func appendSpans(spans []*tracepb.Span, v *traced) []*tracepb.Span {
	r := &v.record
	var room [maxSteps]step
	steps := stepsOf(r, room[:0])
	all := make([]tracepb.Span, 1+len(steps))
	ids := make([]byte, 0, 8*len(all))
	add := func(i int, name string, from, until time.Duration) *tracepb.Span {
		ids = binary.BigEndian.AppendUint64(ids, max(rand.Uint64(), 1)) // zero would be no identifier
		s := &all[i]
		s.TraceId, s.SpanId, s.Flags = v.id[:], ids[8*i:8*i+8:8*i+8], spanFlags
		s.Name, s.Kind = name, tracepb.Span_SPAN_KIND_INTERNAL
		s.StartTimeUnixNano = uint64(r.Start.Add(from).UnixNano())
		s.EndTimeUnixNano = uint64(r.Start.Add(until).UnixNano())
		spans = append(spans, s)
		return s
	}
	root := add(0, SpanConnection, 0, r.Duration)
	root.Kind, root.Attributes = tracepb.Span_SPAN_KIND_SERVER, attributesOf(r)
	last := root
	for i, s := range steps {
		last = add(i+1, s.name, s.from, s.until)
		last.ParentSpanId = root.SpanId
	}
	if r.Err != nil && !r.Served {
		root.Status = failed(r.Err.Error())
		last.Status = failed(r.Refused.String())
	}
	return spans
}

func failed(why string) *tracepb.Status {
	return &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: valid(why)}
}

// valid is text as OTLP may have it. What clients name may be no UTF-8, and would
// keep all that is sent with it from being sent.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// maxAttributes is how many attributesOf makes at most.
const maxAttributes = 13

func attributesOf(r *proxy.Record) []*commonpb.KeyValue {
	a := make(attributes, 0, maxAttributes)
	a.text(AttrListener, r.Listener)
	a.text("client.address", r.Client.Addr().String())
	a.number("client.port", int64(r.Client.Port()))
	a.truth("tandem.client.mptcp", r.ClientMPTCP.MPTCP)
	a.number("tandem.bytes.up", int64(r.Up))
	a.number("tandem.bytes.down", int64(r.Down))
	if r.Host != "" {
		a.text("server.name", r.Host)
	}
	if r.Server.IsValid() {
		a.text("server.address", r.Server.Addr().String())
		a.number("server.port", int64(r.Server.Port()))
	}
	if r.Hop != "" {
		a.text(AttrUpstream, r.Hop)
		a.truth("tandem.server.mptcp", r.ServerMPTCP.MPTCP)
	}
	if !r.Served {
		a.text(AttrReason, r.Refused.String())
	}
	if r.Err != nil {
		a.text("error.message", r.Err.Error())
	}
	return a
}

// attributes are those of a span, or of the resource that it comes from.
type attributes []*commonpb.KeyValue

func (a *attributes) add(key attribute.Key, v *commonpb.AnyValue) {
	*a = append(*a, &commonpb.KeyValue{Key: string(key), Value: v})
}

func (a *attributes) text(key attribute.Key, v string) {
	a.add(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(v)}})
}

func (a *attributes) number(key attribute.Key, v int64) {
	a.add(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}})
}

func (a *attributes) truth(key attribute.Key, v bool) {
	a.add(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}})
}
