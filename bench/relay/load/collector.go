// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// CollectorPort is where a source takes what OTLP sends, and forgets it.
const CollectorPort = 4318

// ServeCollector takes OTLP over HTTP on an address until ctx ends.
func ServeCollector(ctx context.Context, addr netip.Addr) error {
	server := &http.Server{
		Addr:              netip.AddrPortFrom(addr, CollectorPort).String(),
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // whoever sends it counts what is lost
		}),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
