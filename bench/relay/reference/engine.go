// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"runtime/pprof"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// EngineOptions say how to run Tandem's engine.
type EngineOptions struct {
	Options
	SOCKS5  bool   // ask clients for the target
	Profile string // file for a CPU profile; empty: none
}

// Engine relays with Tandem's proxy until ctx ends, set up as `tandem run`
// does, with a limiter and destination rules.
func Engine(ctx context.Context, o EngineOptions) error {
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	limiter, err := policy.NewLimiter(policy.LimitsConfig{})
	if err != nil {
		return err
	}
	sockets := mptcp.SocketOptions{NoDelay: true}
	listen := mptcp.ListenOptions{Mode: mptcp.ModeOff, Socket: sockets}
	if o.MPTCP {
		listen.Mode = mptcp.ModeRequire
	}
	listener := &proxy.Listener{
		Name:      "relay",
		Addresses: []netip.AddrPort{o.Listen},
		Socket:    listen,
		FrontEnd:  proxy.NewForward(proxy.Request{Target: o.Target}),
		Upstream:  proxy.NewDirect("direct", mptcp.ConnectOptions{Socket: sockets}, proxy.Source{}, false),
		Timeouts: proxy.Timeouts{
			Handshake: 10 * time.Second,
			Connect:   15 * time.Second,
			Relay:     relay.Timeouts{Idle: 2 * time.Hour, HalfClosed: 5 * time.Minute},
		},
	}
	if o.SOCKS5 {
		listener.FrontEnd = proxy.NewSOCKS(socks.NewServer(&socks.Config{}))
		// The source is on the same machine, which is denied by default.
		listener.Destinations, err = policy.NewDestinations(policy.DestinationsConfig{
			Allow: []policy.Rule{{Prefix: netip.PrefixFrom(o.Target.Addr(), o.Target.Addr().BitLen())}},
		})
		if err != nil {
			return err
		}
	}
	server, err := proxy.NewServer(proxy.Options{
		Limiter: limiter,
		Log:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.Apply([]*proxy.Listener{listener}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
