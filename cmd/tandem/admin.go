// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/web"
)

// operators is the interface that operators have to a running gateway.
type operators struct {
	config config.Admin
	socket *admin.Socket
	// activated: the service manager has opened the socket.
	activated bool
	missing   error // why there is none
	remote    remote
	server    *admin.Server
	serving   sync.WaitGroup
	drains    chan time.Duration // orders to end, and how long connections may go on
}

var errNoSocket = errors.New("admin.socket is empty")

// open opens the socket. Everything else works without.
func (o *operators) open(c config.Admin, left *estate, log *slog.Logger) {
	o.config, o.drains = c, make(chan time.Duration, 1)
	o.remote.open(&c, left, log)
	if c.Socket == "" {
		o.missing = errNoSocket
		return
	}
	if left != nil && left.Admin != nil && left.Admin.Path == c.Socket {
		o.socket, o.missing = admin.Inherit(c.Socket, left.Admin.FD)
		if o.activated = left.Admin.Activated; o.activated && o.socket != nil {
			o.socket.Leave() // its file belongs to the service manager
		}
		return
	}
	if o.socket, o.missing = admin.Listen(admin.SocketOptions{Path: c.Socket, Group: c.Group}); o.missing != nil {
		if errors.Is(o.missing, fs.ErrPermission) {
			o.missing = fmt.Errorf("%w; admin.socket can name a place where this user may write, such as /run/user/%d/tandem.sock", o.missing, os.Getuid())
		}
		log.Warn("operators cannot reach this tandem: status and other commands do not work", "err", o.missing)
	}
}

// serve answers for g until close.
func (o *operators) serve(g *gateway) {
	if o.socket == nil && len(o.remote.listeners) == 0 {
		return
	}
	o.server = admin.NewServer(admin.Options{Gateway: operated{g}, Paths: &g.paths, Page: web.Page(), Log: g.log})
	o.remote.serve(o.server, &o.serving, g.log)
	if o.socket == nil {
		return
	}
	o.serving.Go(func() {
		if err := o.server.Serve(o.socket); err != nil && !errors.Is(err, net.ErrClosed) {
			g.log.Error("operators cannot reach this tandem any more", "err", err)
		}
	})
}

// apply looks at a new configuration, and says what of it waits.
func (o *operators) apply(c config.Admin) (late string) {
	if !reflect.DeepEqual(c, o.config) {
		return "what is below admin changes when tandem is started again"
	}
	return ""
}

// close ends what is served; answers that are under way may end.
func (o *operators) close() {
	if o.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = o.server.Close(ctx) // an error of the socket's end changes nothing
	o.serving.Wait()
}

// describe says where operators are answered.
func (o *operators) describe() string {
	if o.missing != nil {
		return "no: " + o.missing.Error()
	}
	return o.config.Socket
}

// operated is a gateway as operators see it. It implements admin.Gateway,
// together with state.go.
type operated struct{ *gateway }

// Kick implements admin.Gateway.
func (g operated) Kick(id uint64) bool { return g.server.Kick(id) }

// Choose implements admin.Gateway.
func (g operated) Choose(ctx context.Context, ids []uint64, set options.Set, clear []options.Option) ([]admin.Chosen, error) {
	chosen, err := g.server.Choose(ctx, ids, set, clear)
	if err != nil {
		return nil, err
	}
	all := make([]admin.Chosen, len(chosen))
	for i, c := range chosen {
		all[i] = admin.Chosen{ID: c.ID, Options: admin.ConnectionOptions{Options: []admin.ConnectionOption{}}, Unchanged: c.Unchanged}
		if now := admin.OptionsOf(c.Options); now != nil {
			all[i].Options = *now
		}
		switch {
		case errors.Is(c.Err, proxy.ErrNoConnection):
			all[i].Err = admin.ErrNoConnection
		case errors.Is(c.Err, proxy.ErrNotServed):
			all[i].Err = admin.ErrNotRelayed
		}
	}
	return all, nil
}

// Reload implements admin.Gateway.
func (g operated) Reload() (admin.Reloaded, error) {
	c, late, err := g.reload()
	if err != nil {
		return admin.Reloaded{}, err
	}
	done := admin.Reloaded{Listeners: len(c.Listeners), Upstreams: len(c.Upstreams)}
	for _, w := range c.Warnings {
		done.Warnings = append(done.Warnings, w.String())
	}
	done.Warnings = append(done.Warnings, late...)
	return done, nil
}

var levels = []config.LogLevel{config.LogDebug, config.LogInfo, config.LogWarn, config.LogError}

// LogLevel implements admin.Gateway.
func (g operated) LogLevel() string {
	for _, l := range levels {
		if l.Level() == g.logs.level.Level() {
			return string(l)
		}
	}
	return g.logs.level.Level().String()
}

// SetLogLevel implements admin.Gateway.
func (g operated) SetLogLevel(level string) error {
	l := config.LogLevel(level)
	if !slices.Contains(levels, l) {
		return fmt.Errorf("%q is no level; want debug, info, warn or error", level)
	}
	g.logs.level.Set(l.Level())
	return nil
}

// Drain implements admin.Gateway. Asked again it gives connections another time.
func (g operated) Drain(timeout time.Duration) admin.Drain {
	if timeout == 0 {
		timeout = g.drainTimeout()
	}
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	until := time.Now().Add(timeout)
	select {
	case g.admin.drains <- timeout:
	default: // a request at the same time was faster
	}
	return admin.Drain{Active: g.server.Stats().Active, Until: until}
}

// Alive implements admin.Gateway.
func (g operated) Alive(ctx context.Context) error { return g.server.Alive(ctx) }

// Ready implements admin.Gateway.
func (g operated) Ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return admin.ErrDraining
	}
	return nil
}
