// SPDX-License-Identifier: Apache-2.0

// Package serving answers TCP connections for as long as a test or an
// experiment lasts.
package serving

import (
	"context"
	"io"
	"net"
	"sync"
)

// Start has handle serve each connection to l, and closes it when handle
// returns. Stop ends l and the connections that are left, and waits until
// nothing is served any more.
func Start(l net.Listener, handle func(net.Conn)) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // l was closed
			}
			stay := context.AfterFunc(ctx, func() { c.Close() })
			serving.Go(func() {
				defer c.Close()
				defer stay()
				handle(c)
			})
		}
	})
	return func() {
		end()
		l.Close()
		serving.Wait()
	}
}

// Echo sends back what comes until the client ends its stream.
func Echo(c net.Conn) { _, _ = io.Copy(c, c) }
