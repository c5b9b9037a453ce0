// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

func TestClientAddressesAreKept(t *testing.T) {
	h := newHome(t)
	before := state(t, h.Aggregator)
	i := install(t, h.Aggregator, Config{KeepClientAddresses: true})
	for n, client := range []netip.Addr{h.ClientAddr.V4, h.ClientAddr.V6} {
		to := h.targets(serverPort)[n]
		k := call{host: h.Aggregator, to: to, local: client}
		if got := k.greeting(t); got != "server "+client.String() {
			t.Errorf("%v answered %q", to, got)
		}
		// A port where nobody listens answers as well.
		for _, port := range []uint16{serverPort, 1} {
			if err := h.checkReturn(i, time.Minute, client, netip.AddrPortFrom(to.Addr(), port)); err != nil {
				t.Error(err)
			}
		}
		// Those whose address it is are not disturbed.
		if got := (call{host: h.Client, to: to}).greeting(t); got != "server "+client.String() {
			t.Errorf("%v answered the client %q", to, got)
		}
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	unchanged(t, h.Aggregator, before)
}

func (h home) checkReturn(i *Interceptor, timeout time.Duration, client netip.Addr, server netip.AddrPort) error {
	return h.Aggregator.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return i.CheckReturnRoute(ctx, client, server)
	})
}

func TestMissingReturnRouteIsFound(t *testing.T) {
	h := newHome(t)
	server := h.targets(serverPort)[0]
	// The server has no route to these.
	stranger := netip.MustParseAddr("192.0.2.9")
	if err := h.Server.AddRoute(lab.Route{Dst: single(stranger), Unreachable: true}); err != nil {
		t.Fatal(err)
	}
	i := install(t, h.Aggregator, Config{KeepClientAddresses: true})
	err := h.checkReturn(i, time.Second, stranger, server)
	if !errors.Is(err, ErrNoReturnRoute) || !strings.Contains(err.Error(), "needs a route to 192.0.2.9") {
		t.Errorf("got %v", err)
	}
	// Somebody takes the rule away; an update brings it back.
	output(t, h.Aggregator, "ip", "rule", "del", "priority", "21601")
	if err := h.checkReturn(i, time.Second, h.ClientAddr.V4, server); !errors.Is(err, ErrNoReturnRoute) {
		t.Errorf("without the rule: %v", err)
	}
	delivery := h.Aggregator.Do(func() error { return i.CheckDelivery(h.ClientAddr.V4) })
	if !errors.Is(delivery, ErrNoReturnRoute) || !strings.Contains(delivery.Error(), "another routing rule") {
		t.Errorf("delivery without the rule: %v", delivery)
	}
	if err := i.Update(Config{KeepClientAddresses: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.checkReturn(i, time.Minute, h.ClientAddr.V4, server); err != nil {
		t.Errorf("with the rule again: %v", err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.checkReturn(i, time.Minute, h.ClientAddr.V4, server); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}
