// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
)

// Where programs listen.
var (
	converterV4 = netip.MustParseAddrPort("192.0.2.1:8803")
	converterV6 = netip.MustParseAddrPort("[2001:db8:a::1]:8803")
	sourceAddr  = netip.MustParseAddrPort("203.0.113.80:9000")
	entry       = netip.MustParseAddrPort("127.0.0.1:8000")
)

// secondAddress of the aggregator, which it announces where that is wanted.
const secondAddress = "192.0.2.2"

const aggregatorConfig = `admin: {socket: %s}
listeners:
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803", "` + secondAddress + `:8803", "[2001:db8:a::1]:8803"]
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
    upstream: direct
    paths: {%s}
`

const clientConfig = `admin: {socket: %s}
listeners:
  - {name: apps, type: forward, listen: ["%s"], mptcp: "off", upstream: hag, forward: {target: "%s"}}
upstreams:
  - {name: hag, type: convert, servers: ["%s"], when-down: refuse, paths: {%s}, health: {interval: 1h}}
`

// stageSpec says what a stage is to be like.
type stageSpec struct {
	links      lab.TwoPathSpec
	client     string // options of the client's paths
	aggregator string // of the aggregator's; default: manager default
	converter  netip.AddrPort
}

// stage is a client with two links that runs tandem, an aggregator that does,
// and a source behind it.
type stage struct {
	*lab.TwoPath
	client, aggregator *apps.Tandem
	// operator asks the client's tandem.
	operator *admin.Client
	source   *source
	stop     context.CancelFunc
	dir      string
}

func newStage(ctx context.Context, e *experiment.Env, spec stageSpec) (*stage, error) {
	if spec.aggregator == "" {
		spec.aggregator = "manager: default"
	}
	if !spec.converter.IsValid() {
		spec.converter = converterV4
	}
	tp, err := lab.NewTwoPath("pathsbench", spec.links)
	if err != nil {
		return nil, err
	}
	s := &stage{TwoPath: tp}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.setUp(ctx, e, spec); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context, e *experiment.Env, spec stageSpec) error {
	var err error
	// Paths of sockets have to be short.
	if s.dir, err = os.MkdirTemp("", "tandem-"); err != nil {
		return err
	}
	// Only tandem opens subflows here.
	if err := s.Client.Command(ctx, "ip", "mptcp", "endpoint", "flush").Run(); err != nil {
		return err
	}
	if err := s.Aggregator.AddAddress("lo", netip.MustParsePrefix(secondAddress+"/32")); err != nil {
		return err
	}
	if s.source, err = startSource(ctx, s.Server, sourceAddr); err != nil {
		return err
	}
	socket := func(name string) string { return filepath.Join(s.dir, name) }
	s.aggregator, err = apps.StartTandem(ctx, s.Aggregator, apps.TandemConfig{
		Command: []string{e.Tandem}, Dir: s.dir,
		Config: fmt.Sprintf(aggregatorConfig, socket("a"), spec.aggregator),
	})
	if err != nil {
		return err
	}
	s.client, err = apps.StartTandem(ctx, s.Client, apps.TandemConfig{
		Command: []string{e.Tandem}, Dir: s.dir,
		Config: fmt.Sprintf(clientConfig, socket("c"), entry, sourceAddr, spec.converter, spec.client),
	})
	if err != nil {
		return err
	}
	s.operator = admin.NewClient(socket("c"))
	return nil
}

func (s *stage) close() error {
	var errs []error
	if s.operator != nil {
		s.operator.Close()
	}
	for _, t := range []*apps.Tandem{s.client, s.aggregator} {
		if t != nil {
			errs = append(errs, t.Stop())
		}
	}
	s.stop()
	if s.source != nil {
		s.source.serving.Wait()
	}
	errs = append(errs, s.Close())
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func (s *stage) download(size int64) (*download, error) { return startDownload(s.Client, entry, size) }

// established are the established subflows of the client's only connection.
func (s *stage) established(ctx context.Context) ([]admin.Subflow, error) {
	list, err := s.operator.Paths(ctx)
	if err != nil {
		return nil, err
	}
	var live []admin.Subflow
	for _, c := range list.Connections {
		for _, f := range c.Subflows {
			if f.State == "established" {
				live = append(live, f)
			}
		}
	}
	return live, nil
}

// nft runs a command of nftables on a host.
func nft(ctx context.Context, h *lab.Host, lines ...string) error {
	_, err := h.Command(ctx, "nft", strings.Join(lines, "; ")).Output()
	return err
}
