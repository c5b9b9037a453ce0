// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Front is what a relay speaks with its clients.
type Front string

// The fronts.
const (
	None    Front = "-"       // there is no relay
	Forward Front = "forward" // nothing: there is one fixed server
	SOCKS5  Front = "socks5"
)

// Setup is what a relay is to do.
type Setup struct {
	Listen netip.AddrPort
	Target netip.AddrPort // of Forward
	MPTCP  bool           // of the listener
	Bulk   bool           // tune for few large transfers, if there is anything to tune
	Dir    string         // for its files
	// Descriptors that a process may have open; 0: as many as this one.
	Descriptors int
}

// Peer is one relay.
type Peer struct {
	Name  string
	Front Front
	// About says how it is configured, in a few words.
	About string

	command func(Setup) (command, error)
	version func(context.Context) string // nil: nothing that has one
}

// command is how a peer is started.
type command struct {
	program string
	args    []string
	env     []string          // besides the usual
	files   map[string]string // to write to Setup.Dir first
	inherit bool              // descriptor 3 is the listening socket
}

// ErrMissing reports that a peer is not installed.
var ErrMissing = errors.New("not installed")

// Tools are the programs that do not come from the system.
type Tools struct {
	// Child is the command line of a process of this program by its name, as of
	// experiment.Env; for the reference.
	Child func(name string, args ...string) (program string, arguments []string)
	// Tandem is the program to measure.
	Tandem string
	// Dir holds sing-box, xray and armon.
	Dir string
}

// Beside is the directory for the peers that are built with a tandem program.
func Beside(tandem string) string { return filepath.Join(filepath.Dir(tandem), "peers") }

// Names of the rows that others are compared with.
const (
	DirectName = "direct"
	CopyName   = "io.Copy"
	TandemName = "tandem"
)

// Label is unique among peers, unlike the name.
func (p *Peer) Label() string {
	if p.Name == TandemName {
		return p.Name + " " + string(p.Front)
	}
	return p.Name
}

// All returns every peer, the references first. Direct is not a relay: its
// client speaks with the source.
func All(t Tools) []Peer {
	return append([]Peer{
		{Name: DirectName, Front: None, About: "the client and the source without a relay: the limit of this machine"},
		{CopyName, Forward, "bare relay of two *net.TCPConn with io.Copy, a goroutine per direction", t.copy, goVersion},
		{TandemName, Forward, aboutTandem, t.tandem(Forward, false), nil},
		{TandemName, SOCKS5, aboutTandem, t.tandem(SOCKS5, false), nil},
	}, Others(t)...)
}

// Telling returns Tandem as it is in All, and Tandem with metrics, traces and
// records: beside each other they show what those cost.
func Telling(t Tools) (silent, telling Peer) {
	return Peer{TandemName, Forward, aboutTandem, t.tandem(Forward, false), nil},
		Peer{TandemName, Forward, "tandem run with metrics over OTLP each second, 1 % of connections traced, records in a file", t.tandem(Forward, true), nil}
}

// Others returns the relays that are not Tandem.
func Others(t Tools) []Peer {
	return []Peer{
		{"haproxy", Forward, "mode tcp, one thread per CPU; bulk: splicing through 1 MiB pipes; inherits its MPTCP listener", haproxy, debian("haproxy")},
		{"nginx", Forward, "stream, one worker per CPU, reuseport; bulk: 256 KiB buffers; inherits its MPTCP listener", nginx, debian("nginx-light")},
		{"microsocks", SOCKS5, "no options; MPTCP by mptcpize", microsocks, debian("microsocks")},
		{"dante", SOCKS5, "no authentication, no logs; MPTCP by mptcpize", dante, debian("dante-server")},
		{"armon", SOCKS5, "github.com/armon/go-socks5, its own server", t.armon, t.module("armon", "github.com/armon/go-socks5")},
		{"sing-box", SOCKS5, "inbound socks, outbound direct, no logs; tcp_multi_path", t.singBox, t.module("sing-box", "github.com/sagernet/sing-box")},
		{"xray", SOCKS5, "inbound socks, outbound freedom, no logs; tcpMptcp", t.xray, t.module("xray", "github.com/xtls/xray-core")},
	}
}

// find looks a program up, also where Debian keeps daemons.
func find(program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: Debian package %s", ErrMissing, pkg)
	}
	return path, nil
}

// built looks a program up that is built by build.
func (t Tools) built(program string) (string, error) {
	path := filepath.Join(t.Dir, program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: bench/peers/build makes it", ErrMissing)
	}
	return path, nil
}

// mptcpize wraps a command whose program knows nothing of MPTCP.
func mptcpize(c command, err error) (command, error) {
	if err != nil {
		return c, err
	}
	wrapper, err := find("mptcpize", "mptcpize")
	if err != nil {
		return c, err
	}
	c.args = append([]string{"run", c.program}, c.args...)
	c.program = wrapper
	return c, nil
}

// lines joins the lines of a configuration file.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// when is text if a condition holds.
func when(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}
