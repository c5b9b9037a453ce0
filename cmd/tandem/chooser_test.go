// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// granting serves both protocols to clients that may ask for options.
const granting = `
listeners:
  - name: phones
    type: socks5
    listen: ["192.0.2.1:1080"]
    allow-from: [198.51.100.0/24]
    options: ` + askable + `
  - name: homes
    type: convert
    listen: ["192.0.2.1:8803"]
    allow-from: [198.51.100.0/24]
    options: ` + askable + `
`

// askable lets clients ask for anything but one, up to something.
const askable = "{accept: [socks, convert, tcp-option], trusted: [198.51.100.0/24], caps: {subflow-rate-limit: 30Mbit, inactivity-timeout: 1h}, forbid: [delayed-ack]}"

// chooser is an aggregator whose operator is the test, with a phone and a web
// server.
type chooser struct {
	t *testing.T
	*lab.TwoPath
	web        *apps.Nginx
	addr       netip.AddrPort
	aggregator *apps.Tandem
	operator   *admin.Client
	socket     string
}

func newChooser(t *testing.T, spec lab.TwoPathSpec, config string, size int64) *chooser {
	t.Helper()
	c := &chooser{t: t, TwoPath: labtest.TwoPath(t, spec)}
	c.addr = netip.AddrPortFrom(c.ServerAddr.V4, 80)
	c.web = labtest.Nginx(t, c.Server, size, c.addr)
	c.aggregator, c.operator, c.socket = c.tandem(c.Aggregator, config)
	return c
}

// tandem runs one on a host, with a socket for its operator.
func (c *chooser) tandem(h *lab.Host, config string) (*apps.Tandem, *admin.Client, string) {
	c.t.Helper()
	dir, err := os.MkdirTemp("", "tandem-") // short, as paths of sockets have to be
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	tandem := runTandem(c.t, h, "admin: {socket: "+socket+"}\n"+config)
	client := admin.NewClient(socket)
	c.t.Cleanup(client.Close)
	return tandem, client, socket
}

func (c *chooser) links() []*lab.Link { return []*lab.Link{c.WiFi.Link, c.Cell.Link} }

// download runs curl on the phone until it has the file or end is called, and
// sends how it went.
func (c *chooser) download(args ...string) (done <-chan apps.CurlResult, end func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	results := make(chan apps.CurlResult, 1)
	go func() {
		r, err := apps.Curl(ctx, c.Client, append(args, "--max-time", "60", c.web.URL(c.addr))...)
		if err != nil && ctx.Err() == nil {
			c.t.Error(err)
		}
		results <- r
	}()
	return results, cancel
}

// await waits until the one connection that a tandem relays meets a condition.
func (c *chooser) await(operator *admin.Client, what string, met func(*admin.Connection) bool) *admin.Connection {
	c.t.Helper()
	var found *admin.Connection
	labtest.Await(c.t, 3*patience, what, func() bool {
		_, err := operator.Connections(c.t.Context(), admin.Filter{}, func(one *admin.Connection) error {
			if one.Phase == "relaying" && met(one) {
				found = one
			}
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		return found != nil
	})
	return found
}

// cellShare is what the second path has carried to the phone since an earlier
// reading, of all.
func (c *chooser) cellShare(before []uint64) float64 {
	c.t.Helper()
	now := counters(c.t, c.links()...)
	wifi, cell := float64(now[0]-before[0]), float64(now[1]-before[1])
	return cell / (wifi + cell)
}

// awaitDown waits until both paths together have carried so many bytes to the
// phone.
func (c *chooser) awaitDown(before []uint64, n uint64) {
	c.t.Helper()
	labtest.Await(c.t, 3*patience, fmt.Sprintf("%d bytes to the phone", n), func() bool {
		now := counters(c.t, c.links()...)
		return now[0]-before[0]+now[1]-before[1] >= n
	})
}

// sockets is what ss tells of the TCP sockets of a host.
func (c *chooser) sockets(h *lab.Host) string {
	c.t.Helper()
	p := h.Command(c.t.Context(), "ss", "-Htin")
	var out strings.Builder
	p.Stdout = &out
	if err := p.Run(); err != nil {
		c.t.Skip(err)
	}
	return out.String()
}

// needSteering skips where the kernel cannot be told which paths to use.
func (c *chooser) needSteering() {
	c.t.Helper()
	s, err := c.operator.Status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if !s.Kernel.EBPF.OK || countLogged(c.aggregator, "steered") > 0 {
		c.t.Skip("needs eBPF and Linux 6.13: " + s.Kernel.EBPF.Detail)
	}
}

// asker is a phone whose tandem asks for options: one listener and upstream each.
func asker(upstreams ...string) string {
	listeners, ways := "listeners:\n", "upstreams:\n"
	for i, u := range upstreams {
		listeners += fmt.Sprintf("  - {name: l%d, type: socks5, listen: [\"127.0.0.1:%d\"], upstream: u%d}\n", i, 1081+i, i)
		ways += fmt.Sprintf("  - {name: u%d, when-down: refuse, %s}\n", i, u)
	}
	return listeners + ways
}

func bySOCKS(options string) string {
	return `type: socks5, servers: ["192.0.2.1:1080"], ask: {options: {` + options + `}}`
}

func byConvert(options string) string {
	return `type: convert, servers: ["192.0.2.1:8803"], ask: {options: {` + options + `}}`
}

func byTCPOption(options string) string {
	return `type: convert, servers: ["192.0.2.1:8803"], ask: {by: tcp-option, options: {` + options + `}}`
}

// shareAsked downloads through a port of the phone's tandem, sees that what it asks
// for is granted, and returns what the second path has carried since.
func (c *chooser) shareAsked(phone *admin.Client, port int, by, want string) float64 {
	c.t.Helper()
	before := counters(c.t, c.links()...)
	done, _ := c.download("--proxy", fmt.Sprintf("socks5h://127.0.0.1:%d", port))
	if want != "" {
		name, value, _ := strings.Cut(want, "=")
		c.await(c.operator, "the aggregator to grant "+want, func(one *admin.Connection) bool {
			o := one.Options.Of(name)
			return o != nil && o.Value == value && o.Asked == value && o.By == by && o.Why == "as asked"
		})
		asked := c.await(phone, "the phone to know", func(one *admin.Connection) bool {
			h := one.AskedOfHop
			return h != nil && h.By == by && h.Asked[name] == value && (h.Granted[name] == value || by == "socks")
		})
		if by == "socks" && asked.AskedOfHop.Answered {
			c.t.Error("a SOCKS5 server has answered")
		}
	}
	if by == "tcp-option" {
		before = counters(c.t, c.links()...) // it came while the download went on
	}
	checkFetched(c.t, c.web, <-done)
	return c.cellShare(before)
}
