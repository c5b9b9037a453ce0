// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/doctor"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// errUnwell is for failures that have been printed already.
var errUnwell = errors.New("something that the configuration needs is missing")

func doctorCommand() *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what this machine lacks, and how to mend it",
		Long: `Looks at the kernel, its settings and limits, links, routes and packet sizes, and
connects to the aggregators of the configuration over each link, with MPTCP and
Fast Open. Nothing is changed. Run it as root, as Tandem's own user sees less.

Each check is ok, a warning (it works, with less than there could be), failed
(something that the configuration needs is missing) or unknown. All but the first
say what is lost, and the command that mends it where there is one.

The exit code is 1 if a check has failed.`,
		Example: "  tandem doctor --config /etc/tandem/cpe.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(file)
			if err != nil {
				return err
			}
			report := doctor.Examine(cmd.Context(), needs(c))
			if err := writeReport(cmd.OutOrStdout(), &report, asJSON); err != nil {
				return err
			}
			if report.Failed > 0 {
				return errUnwell
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration `file` that Tandem is to run with")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeReport(w io.Writer, r *doctor.Report, asJSON bool) error {
	if !asJSON {
		return r.WriteText(w)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // commands hold &&
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// needs is what a configuration asks of the machine.
func needs(c *config.Config) doctor.Needs {
	n := doctor.Needs{
		EBPF:        managesPaths(c),
		Connections: c.Limits.Connections,
		PipeBytes:   eventLoops(c.Workers) * relay.MaxPipes * relay.PipeSize,
	}
	if c.Records.File.Path != "" || len(c.Records.IPFIX.Collectors) > 0 {
		n.Clock = "records of connections have wrong times, and are worth nothing as evidence"
	}
	n.User, n.Group = c.Rights.User, c.Admin.Group
	needsAddresses(&n, "admin.listen", c.Admin.Listen)
	needsAddresses(&n, "telemetry.prometheus", c.Telemetry.Prometheus.Listen)
	for i := range c.Listeners {
		needsOfListener(&n, &c.Listeners[i])
	}
	for i := range c.Upstreams {
		needsOfUpstream(&n, &c.Upstreams[i])
	}
	return n
}

func needsOfListener(n *doctor.Needs, l *config.Listener) {
	multipath := l.MPTCP != mptcp.ModeOff
	n.MPTCP = n.MPTCP || multipath
	needsOfSocket(n, &l.Socket, "listener "+l.Name, "Tandem does not start")
	needsAddresses(n, "listener "+l.Name, l.Listen)
	switch l.Type {
	case config.ListenTProxy:
		n.TProxy = true
		n.Inside = append(n.Inside, l.TProxy.Interfaces...)
		for _, name := range l.TProxy.Interfaces {
			n.Devices = append(n.Devices, doctor.Device{Name: name, Of: "listener " + l.Name, Lost: "nothing is intercepted there", MayCome: true})
		}
		return
	case config.ListenRedirect:
		n.Redirect = true
		return
	}
	n.Joins = n.Joins || multipath
	n.FastOpenServer = n.FastOpenServer || l.FastOpen > 0
}

// protocols of upstreams that lead through others.
var protocols = map[config.UpstreamType]doctor.Protocol{
	config.UpstreamConvert: doctor.Convert,
	config.UpstreamSOCKS5:  doctor.SOCKS5,
}

func needsOfUpstream(n *doctor.Needs, u *config.Upstream) {
	multipath := u.MPTCP != mptcp.ModeOff
	n.MPTCP = n.MPTCP || multipath
	n.FastOpenClient = n.FastOpenClient || u.FastOpen
	needsOfSocket(n, &u.Socket, "upstream "+u.Name, "connections of this upstream fail")
	if u.Direct != nil && u.Direct.Source == config.SourceClient {
		n.Transparent = true
	}
	if u.Direct != nil && len(u.Direct.Pool) > 0 {
		n.Addresses = append(n.Addresses, doctor.Addresses{Of: "upstream " + u.Name, List: u.Direct.Pool, Routed: true})
	}
	for _, server := range u.Servers {
		n.Aggregators = append(n.Aggregators, doctor.Aggregator{
			Upstream: u.Name, Address: server, Protocol: protocols[u.Type], Mode: u.MPTCP,
			FastOpen: u.FastOpen, Mark: u.Socket.Mark, Device: u.Socket.Device,
		})
	}
	if len(u.Servers) == 0 || !multipath {
		return
	}
	n.KernelPaths = n.KernelPaths || !u.Paths.Managed()
	for _, name := range slices.Concat(u.Paths.Interfaces, u.Paths.BackupInterfaces) {
		if !slices.Contains(n.Links, name) {
			n.Links = append(n.Links, name)
		}
	}
}

// needsAddresses are those that something listens on.
func needsAddresses(n *doctor.Needs, of string, list []netip.AddrPort) {
	if len(list) == 0 {
		return
	}
	a := doctor.Addresses{Of: of}
	for _, address := range list {
		if !slices.Contains(a.List, address.Addr()) {
			a.List = append(a.List, address.Addr())
		}
	}
	n.Addresses = append(n.Addresses, a)
}

func needsOfSocket(n *doctor.Needs, s *config.Socket, of, lost string) {
	if s.Device != "" {
		n.Devices = append(n.Devices, doctor.Device{Name: s.Device, Of: of, Lost: lost})
	}
	if name := s.CongestionControl; name != "" && !slices.Contains(n.Congestion, name) {
		n.Congestion = append(n.Congestion, name)
	}
}
