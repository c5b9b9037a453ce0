// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
)

// connectionLog logs ended connections, on level debug: a busy gateway ends
// thousands per second.
type connectionLog struct{ log *slog.Logger }

// record logs a connection. Trace is the identifier of its trace, or "".
func (c connectionLog) record(r *proxy.Record, trace string) {
	ctx := context.Background()
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("listener", r.Listener),
		slog.Any("client", r.Client),
		slog.String("client_mptcp", negotiated(r.ClientMPTCP)),
	}
	if r.User != "" {
		attrs = append(attrs, slog.String("user", r.User))
	}
	if r.Host != "" {
		attrs = append(attrs, slog.String("host", r.Host))
	}
	if r.Server.IsValid() {
		attrs = append(attrs, slog.Any("server", r.Server))
	}
	if r.Hop != "" {
		attrs = append(attrs, slog.String("upstream", r.Hop))
	}
	if r.ServerMPTCP != (mptcp.Status{}) {
		attrs = append(attrs, slog.String("server_mptcp", negotiated(r.ServerMPTCP)))
	}
	attrs = append(attrs,
		slog.Duration("connected", r.Connected.Round(time.Microsecond)),
		slog.Duration("duration", r.Duration.Round(time.Microsecond)),
		slog.Uint64("up", r.Up), slog.Uint64("down", r.Down))
	if trace != "" {
		attrs = append(attrs, slog.String("trace_id", trace))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.Any("err", r.Err))
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "connection ended", attrs...)
}

// negotiated is "yes" or the reason why a leg is plain TCP.
func negotiated(s mptcp.Status) string {
	if s.MPTCP {
		return "yes"
	}
	return s.Reason.String()
}
