// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
	"github.com/tandem-gateway/tandem/mptcp"
)

const expiryConfig = `admin: {socket: %s}
listeners:
  - {name: app, type: forward, listen: ["192.0.2.1:7000"], mptcp: require, allow-from: [198.51.100.0/24], forward: {target: "%s"}, paths: {manager: default, keep: %s}}
`

// held is what exists at a moment.
type held struct {
	At          float64 `json:"at_seconds"`
	Opened      int     `json:"opened"`
	Connections float64 `json:"connections"`
	User        float64 `json:"user_mb"`   // of the gateway
	Kernel      float64 `json:"kernel_mb"` // slabs of the whole machine, more than at the beginning
}

// expirySpec is one run.
type expirySpec struct {
	name     string
	keep     time.Duration
	n        int
	rate     int // per second
	lostMore time.Duration
}

// expiry opens connections one after another, each of which loses its subflow to
// a RST soon after, with an inactivity timeout and without one. A connection
// takes two descriptors of the gateway, so that the run without ends before they
// are used up.
func expiry(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	with := expirySpec{"timeout 15 s", 15 * time.Second, 20000, 150, 20 * time.Second}
	without := expirySpec{"no timeout", 24 * time.Hour, 9000, 150, 0}
	if e.Quick {
		with = expirySpec{"timeout 1 s", time.Second, 100, 100, 2 * time.Second}
		without = expirySpec{"no timeout", 24 * time.Hour, 100, 100, 0}
	}
	var ends []string
	r.Columns("run", "opened", "per second", "held at most", "held at the end", "user MB at most", "kernel MB at most")
	var connections, memory []figure.Series
	for _, spec := range []expirySpec{with, without} {
		all, err := holdAndLose(ctx, e, spec)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.name, err)
		}
		var top held
		c, user, kernel := figure.Series{Name: spec.name}, figure.Series{Name: spec.name + ", user"}, figure.Series{Name: spec.name + ", kernel"}
		whileOpening := 0.0
		for _, h := range all {
			r.Record("held", map[string]any{"run": spec.name, "held": h})
			top.Connections, top.User, top.Kernel = max(top.Connections, h.Connections), max(top.User, h.User), max(top.Kernel, h.Kernel)
			if h.Opened >= spec.n && whileOpening == 0 {
				whileOpening = h.At
			}
			c.X, c.Y = append(c.X, h.At), append(c.Y, h.Connections)
			user.X, user.Y = append(user.X, h.At), append(user.Y, h.User)
			kernel.X, kernel.Y = append(kernel.X, h.At), append(kernel.Y, h.Kernel)
		}
		connections, memory = append(connections, c), append(memory, user, kernel)
		rate, last := float64(spec.n)/whileOpening, all[len(all)-1]
		r.Row(spec.name, fmt.Sprint(spec.n), fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.0f", top.Connections), fmt.Sprintf("%.0f", last.Connections), fmt.Sprintf("%.0f", top.User), fmt.Sprintf("%.0f", top.Kernel))
		ends = append(ends, fmt.Sprintf("%s: %.0f of %d held at most, %.0f at the end, %.0f MB of user memory at most", spec.name, top.Connections, spec.n, last.Connections, top.User))
		r.Judge(rate >= 55, spec.name+": at least 55 connections per second", "%.0f", rate)
		if spec.keep < time.Hour {
			limit := float64(spec.rate) * (spec.keep.Seconds() + 3)
			r.Judge(top.Connections <= limit && last.Connections == 0, fmt.Sprintf("%s: never more than %.0f held, none at the end", spec.name, limit), "%.0f at most, %.0f at the end", top.Connections, last.Connections)
		} else {
			r.Judge(int(last.Connections) == spec.n, spec.name+": all are held", "%.0f of %d", last.Connections, spec.n)
		}
	}
	r.Ours(fig614, "%s", strings.Join(ends, "; "))
	r.Plot("", figure.Lines(figure.Axes{Title: "Connections whose subflows are all reset", X: "time in s", Y: "connections held"}, connections...))
	r.Plot("memory", figure.Lines(figure.Axes{Title: "Memory of connections whose subflows are all reset", X: "time in s", Y: "MB"}, memory...))
	return nil
}

// holdAndLose is one run.
func holdAndLose(ctx context.Context, e *experiment.Env, spec expirySpec) (all []held, err error) {
	tp, err := lab.NewTwoPath("pathsexpiry", lab.TwoPathSpec{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	dir, err := os.MkdirTemp("", "tandem-")
	if err != nil {
		cancel()
		return nil, errors.Join(err, tp.Close())
	}
	var src *source
	defer func() {
		cancel()
		if src != nil {
			src.serving.Wait()
		}
		err = errors.Join(err, tp.Close(), os.RemoveAll(dir))
	}()
	if err := tp.Client.Command(ctx, "ip", "mptcp", "endpoint", "flush").Run(); err != nil {
		return nil, err
	}
	// The client's ends are of no interest.
	if err := tp.Client.Sysctl("net.mptcp.close_timeout", "1"); err != nil {
		return nil, err
	}
	if src, err = startSource(ctx, tp.Server, sourceAddr); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "s")
	gateway, err := apps.StartTandem(ctx, tp.Aggregator, apps.TandemConfig{
		Command: []string{e.Tandem}, Dir: dir, Config: fmt.Sprintf(expiryConfig, socket, sourceAddr, spec.keep),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gateway.Stop()) }()
	operator := admin.NewClient(socket)
	defer operator.Close()
	return watchLosses(ctx, tp.Client, spec, gateway, operator)
}

// watchLosses has a client lose its connections, and looks at what the gateway holds
// until all of them have been lost for a while.
func watchLosses(ctx context.Context, client *lab.Host, spec expirySpec, gateway *apps.Tandem, operator *admin.Client) (all []held, err error) {
	base, err := slabs()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	opened, done := make(chan int, spec.n), make(chan error, 1)
	go func() { done <- client.Do(func() error { return loseAll(ctx, spec, opened) }) }()
	count := 0
	sample := func() error {
		for len(opened) > 0 {
			count = <-opened
		}
		status, err := operator.Status(ctx)
		if err != nil {
			return err
		}
		usage, err := measure.Group{PGID: gateway.Pid()}.Usage()
		if err != nil {
			return err
		}
		now, err := slabs()
		all = append(all, held{time.Since(start).Seconds(), count, float64(status.Connections.Active), float64(usage.Memory) / 1e6, (now - base) / 1e6})
		return err
	}
	var ended time.Time
	for {
		select {
		case err := <-done:
			if err != nil {
				return all, err
			}
			ended, done = time.Now(), nil
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return all, ctx.Err()
		}
		if err := sample(); err != nil {
			return all, err
		}
		if !ended.IsZero() && time.Since(ended) >= spec.lostMore {
			return all, nil
		}
	}
}

// loseAll opens connections from the namespace of the calling thread, and has
// each reset a moment later.
func loseAll(ctx context.Context, spec expirySpec, opened chan<- int) error {
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: 5 * time.Second}
	tick := time.NewTicker(time.Second / time.Duration(spec.rate))
	defer tick.Stop()
	var waiting []*mptcp.Conn
	lose := func(keep int) error {
		for len(waiting) > keep {
			c := waiting[0]
			waiting = waiting[1:]
			if err := netlink.SocketDestroy(c.LocalAddr(), c.RemoteAddr()); err != nil {
				return fmt.Errorf("reset %s: %w", c.LocalAddr(), err)
			}
			c.Close()
		}
		return nil
	}
	defer func() {
		for _, c := range waiting {
			c.Close()
		}
	}()
	for i := range spec.n {
		c, err := d.DialContext(ctx, "tcp", "192.0.2.1:7000")
		if err != nil {
			return err
		}
		waiting = append(waiting, c)
		// A request of nothing: the answer shows that the connection is served.
		if err := exchangeNothing(c); err != nil {
			return err
		}
		if err := lose(spec.rate / 5); err != nil {
			return err
		}
		opened <- i + 1
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return lose(0)
}

func exchangeNothing(c net.Conn) error {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(make([]byte, askSize)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, trailerSize))
	return err
}

// slabs are the bytes of all objects of the kernel's allocators.
func slabs() (float64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Slab:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			return kb * 1024, err
		}
	}
	return 0, errors.New("no line Slab in /proc/meminfo")
}
