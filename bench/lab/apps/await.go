// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// Log collects the output of a process; it is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// AwaitListener waits until the process accepts TCP connections on an address
// of its host, at most some seconds.
func AwaitListener(ctx context.Context, h *lab.Host, p *lab.Process, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := h.Do(func() error {
			var d net.Dialer
			d.SetMultipathTCP(false)
			c, err := d.DialContext(ctx, "tcp", addr.String())
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return errors.New("ended before it listened")
		case <-ctx.Done():
			return fmt.Errorf("does not listen: %w", err)
		}
	}
}
