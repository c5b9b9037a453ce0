// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// settle is how long addresses have to stay as they are before they are read:
// an interface that comes up gets several at once.
const settle = 200 * time.Millisecond

// followAddresses keeps the list of own addresses, which clients may not reach,
// up to date until ctx ends.
func followAddresses(ctx context.Context, destinations []*policy.Destinations, log *slog.Logger) {
	updates := make(chan netlink.AddrUpdate, 16)
	done := make(chan struct{})
	err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
		ErrorCallback: func(err error) {
			if ctx.Err() == nil {
				log.Warn("missed changes of addresses", "err", err)
			}
		},
	})
	if err != nil {
		log.Warn("changes of the machine's own addresses are not noticed", "err", fmt.Errorf("subscribe: %w", err))
		return
	}
	// The subscription ends when it meets its closed socket, and closes updates.
	defer func() {
		close(done)
		for range updates {
		}
	}()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-updates:
			if !open {
				log.Warn("changes of the machine's own addresses are not noticed any more")
				<-ctx.Done()
				return
			}
			quiet.Reset(settle)
		case <-quiet.C:
			for _, d := range destinations {
				if err := d.Refresh(); err != nil {
					log.Warn("cannot read the machine's own addresses", "err", err)
				}
			}
		}
	}
}
