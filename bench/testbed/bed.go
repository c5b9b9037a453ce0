// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/topology"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
)

// Spec says what a bed is to be like.
type Spec struct {
	// Preset of the lab, one of [Presets].
	Preset string
	// Set are changes to its links, such as "wifi.delay=5ms".
	Set []string
	// Congestion is the congestion control of all hosts; empty: [Congestion].
	// Namespaces may choose those that the machine allows everybody.
	Congestion string
	// Tandem is the program to measure, as an absolute path.
	Tandem string
	// Steered adds the way [Following], which needs eBPF.
	Steered bool
	// Asked adds a way for each of these schedulers, at most [MostAsked], which
	// the edge asks the aggregator for: [AskingFor]. It needs eBPF.
	Asked []string
}

// Congestion is the congestion control unless another is asked for: the one
// that every kernel has, lets a namespace choose, and couples with nothing. bbr
// stalls MPTCP on fast links now and then.
const Congestion = "reno"

// Bed is a running network with everything in it. Links are changed with Set,
// as in "wifi.up=false".
type Bed struct {
	*topology.Network
	// Client runs workloads; Edge has the access links, and is the client itself
	// except in a home; Aggregator is where their traffic ends.
	Client, Edge, Aggregator *lab.Host
	// AtEdge and AtAggregator are Tandem.
	AtEdge, AtAggregator *apps.Tandem

	spec    Spec
	site    site
	dir     string
	stop    context.CancelFunc
	serving sync.WaitGroup
	peers   int
}

// New builds a bed. The caller closes it.
func New(ctx context.Context, spec Spec) (*Bed, error) {
	if spec.Congestion == "" {
		spec.Congestion = Congestion
	}
	if len(spec.Asked) > MostAsked {
		return nil, fmt.Errorf("%d schedulers to ask for, at most %d", len(spec.Asked), MostAsked)
	}
	s, err := siteOf(spec.Preset)
	if err != nil {
		return nil, err
	}
	file, err := topology.Load(spec.Preset)
	if err != nil {
		return nil, err
	}
	n, err := file.Build("bed")
	if err != nil {
		return nil, err
	}
	b := &Bed{
		Network: n, Client: n.Hosts[s.client], Edge: n.Hosts[s.edge], Aggregator: n.Hosts["aggregator"],
		spec: spec, site: s,
	}
	ctx, b.stop = context.WithCancel(ctx)
	if err := b.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("bed of %s: %w", spec.Preset, err), b.Close())
	}
	return b, nil
}

func (b *Bed) setUp(ctx context.Context) (err error) {
	for _, setting := range b.spec.Set {
		if err := b.Set(setting); err != nil {
			return err
		}
	}
	for _, h := range b.Hosts {
		if err := h.Sysctl("net.ipv4.tcp_congestion_control", b.spec.Congestion); err != nil {
			return fmt.Errorf("congestion control %s: %w", b.spec.Congestion, err)
		}
	}
	for port, mode := range map[uint16]mptcp.Mode{portTCP: mptcp.ModeOff, portIntercepted: mptcp.ModeOff, portMPTCP: mptcp.ModeRequire} {
		if err := b.serve(ctx, port, mode); err != nil {
			return err
		}
	}
	if err := b.installMeter(ctx); err != nil {
		return err
	}
	// Paths of sockets have to be short.
	if b.dir, err = os.MkdirTemp("", "tandem-"); err != nil {
		return err
	}
	if b.AtAggregator, err = b.tandem(ctx, "aggregator", b.Aggregator); err != nil {
		return err
	}
	b.AtEdge, err = b.tandem(ctx, "edge", b.Edge)
	return err
}

// serve has the server serve workloads on a port.
func (b *Bed) serve(ctx context.Context, port uint16, mode mptcp.Mode) error {
	return b.Hosts["server"].Do(func() error {
		ln, err := mptcp.NewListener(server(port), mptcp.ListenOptions{Mode: mode, Socket: mptcp.SocketOptions{NoDelay: true}})
		if err != nil {
			return err
		}
		// It ends with the context only.
		b.serving.Go(func() { _ = workload.Serve(ctx, ln) })
		return nil
	})
}

func (b *Bed) tandem(ctx context.Context, name string, h *lab.Host) (*apps.Tandem, error) {
	config, err := b.site.config(name, b.socket(name), b.spec)
	if err != nil {
		return nil, err
	}
	return apps.StartTandem(ctx, h, apps.TandemConfig{Command: []string{b.spec.Tandem}, Dir: b.dir, Config: config})
}

// socket is where the Tandem of that name takes commands.
func (b *Bed) socket(name string) string { return filepath.Join(b.dir, name) }

// AggregatorStatus asks the aggregator how it fares, so that it can be seen
// whether schedulers that were asked for came into force.
func (b *Bed) AggregatorStatus(ctx context.Context) (admin.Status, error) {
	c := admin.NewClient(b.socket("aggregator"))
	defer c.Close()
	return c.Status(ctx)
}

// Close takes everything down.
func (b *Bed) Close() error {
	var errs []error
	for _, t := range []*apps.Tandem{b.AtEdge, b.AtAggregator} {
		if t != nil {
			errs = append(errs, t.Stop())
		}
	}
	b.stop()
	b.serving.Wait()
	errs = append(errs, b.Network.Close())
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// Access are the names of the access links, the preferred one first.
func (b *Bed) Access() []string { return b.site.access }
