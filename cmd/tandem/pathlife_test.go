// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
)

// multipath opens an MPTCP connection from a host and sees that it works.
func multipath(t *testing.T, h *lab.Host, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	err := h.Do(func() (err error) {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		c, err = d.DialContext(t.Context(), "tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	exchange(t, c)
	return c
}

// plain opens a TCP connection from a host and sees that it works.
func plain(t *testing.T, h *lab.Host, addr string) net.Conn {
	t.Helper()
	c, err := (&relayed{TwoPath: &lab.TwoPath{Client: h}}).dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	exchange(t, c)
	return c
}

// TestInactivity: how long a connection without subflows is kept, and how long
// one without bytes, do not depend on each other. The server is told, and the
// log has the reason.
func TestInactivity(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	ends := make(chan error, 10)
	served := sink(t, tp.Server, "203.0.113.80:7", ends)
	operator, config := operatorAt(t, 0)
	tandem := runTandem(t, tp.Aggregator, config+`
drain-timeout: 100ms
listeners:
  - {name: brief, type: forward, listen: ['192.0.2.1:7001'], allow-from: [198.51.100.0/24], forward: {target: '203.0.113.80:7'}, timeouts: {idle: 1h}, paths: {manager: default, keep: 1s}}
  - {name: patient, type: forward, listen: ['192.0.2.1:7002'], allow-from: [198.51.100.0/24], forward: {target: '203.0.113.80:7'}, timeouts: {idle: 1h}, paths: {manager: default, keep: 1h}}
  - {name: idle, type: forward, listen: ['192.0.2.1:7003'], allow-from: [198.51.100.0/24], forward: {target: '203.0.113.80:7'}, timeouts: {idle: 2s}, paths: {manager: default, keep: 1h}}
`)
	// With subflows, and without bytes for longer than the others are kept.
	stays := multipath(t, tp.Client, "192.0.2.1:7001")
	multipath(t, tp.Client, "192.0.2.1:7002")
	multipath(t, tp.Client, "192.0.2.1:7001")
	labtest.Await(t, patience, "three servers", func() bool { return served() == 3 })
	lost := func(port uint16) func(*admin.Paths) bool {
		return func(p *admin.Paths) bool {
			return p.Lost != nil && slices.ContainsFunc(p.Past, func(s admin.Subflow) bool { return s.Local.Port() == port })
		}
	}
	joined := func(connections int) {
		t.Helper()
		labtest.Await(t, pathPatience, "two subflows of each connection", func() bool {
			list, err := operator.Paths(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, p := range list.Connections {
				if inState(&p, paths.Established) == 2 {
					n++
				}
			}
			return n == connections
		})
	}
	first := stays.LocalAddr().(*net.TCPAddr)
	joined(3) // or a late one would save a connection whose first is killed
	kill(t, tp.Client, "dport", "=", ":7002")
	kill(t, tp.Client, "dport", "=", ":7001", "and", "not", "sport", "=", ":"+strconv.Itoa(first.Port))
	select {
	case err := <-ends:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server reads %v, want a reset", err)
		}
	case <-time.After(pathPatience):
		t.Fatal("the server was not told")
	}
	awaitLog(t, tandem, "listener=brief", "connection ended", "no subflow for too long")
	awaitPaths(t, operator, "the patient one to be kept", lost(7002))
	if n := countLogged(tandem, "no subflow for too long"); n != 1 {
		t.Errorf("%d connections have ended for want of subflows", n)
	}
	exchange(t, stays)

	// The other way round.
	multipath(t, tp.Client, "192.0.2.1:7003")
	joined(1)
	kill(t, tp.Client, "dport", "=", ":7003")
	awaitPaths(t, operator, "no subflow", lost(7003))
	awaitLog(t, tandem, "listener=idle", "connection ended", "idle")
	select {
	case <-ends:
	case <-time.After(pathPatience):
		t.Fatal("the server was not told")
	}
	awaitPaths(t, operator, "the patient one to be kept", lost(7002))
	if logged(tandem, "listener=patient", "connection ended") {
		t.Error("the patient one has ended")
	}
	exchange(t, stays)
}

// kill has the kernel of a host reset subflows.
func kill(t *testing.T, h *lab.Host, filter ...string) {
	t.Helper()
	if _, err := h.Command(context.Background(), "ss", append([]string{"-K"}, filter...)...).Output(); err != nil {
		t.Fatal(err)
	}
}

// sink serves an address like echo, and tells how connections have ended and
// how many there were.
func sink(t *testing.T, h *lab.Host, addr string, ends chan<- error) (served func() int) {
	t.Helper()
	var l net.Listener
	if err := h.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	t.Cleanup(serving.Start(l, func(c net.Conn) { // ends after tandem
		n.Add(1)
		_, err := io.Copy(c, c)
		ends <- err
	}))
	return func() int { return int(n.Load()) }
}

const threeManagers = `
listeners:
  - {name: mesh, type: forward, listen: ['127.0.0.1:7001'], forward: {target: '192.0.2.1:7007'}, upstream: mesh}
  - {name: ports, type: forward, listen: ['127.0.0.1:7002'], forward: {target: '192.0.2.1:7007'}, upstream: ports}
  - {name: one, type: forward, listen: ['127.0.0.1:7003'], forward: {target: '192.0.2.1:7007'}, upstream: one}
upstreams:
  - {name: mesh, type: direct, mptcp: require, paths: {manager: fullmesh}}
  - {name: ports, type: direct, mptcp: require, paths: {manager: ndiffports, subflows: 3}}
  - {name: one, type: direct, mptcp: require, paths: {manager: default}}
`

// subflowsOn are the interfaces of established subflows, in order.
func subflowsOn(p *admin.Paths) string {
	var devices []string
	for _, s := range p.Subflows {
		if s.State == "established" {
			devices = append(devices, s.Interface)
		}
	}
	slices.Sort(devices)
	return strings.Join(devices, " ")
}

// TestSeveralManagers has connections of one tandem managed in different ways
// at once. Another manager after a reload is that of new connections only.
func TestSeveralManagers(t *testing.T) {
	r := newRelayed(t, relayTo7)
	operator, config := operatorAt(t, 0)
	near := runTandem(t, r.Client, config+threeManagers)
	managed := func(manager, devices string) func(*admin.Paths) bool {
		return func(p *admin.Paths) bool { return p.Initiator && p.Manager == manager && subflowsOn(p) == devices }
	}
	mesh := plain(t, r.Client, "127.0.0.1:7001")
	ports := plain(t, r.Client, "127.0.0.1:7002")
	one := plain(t, r.Client, "127.0.0.1:7003")
	awaitPaths(t, operator, "a full mesh", managed("fullmesh", "cell wifi"))
	old := awaitPaths(t, operator, "three ports", managed("ndiffports", "wifi wifi wifi"))
	awaitPaths(t, operator, "one subflow", managed("default", "wifi"))

	swapped := strings.NewReplacer("{manager: ndiffports, subflows: 3}", "{manager: fullmesh}",
		"{manager: default}", "{manager: ndiffports, subflows: 2}").Replace(threeManagers)
	reload(t, near, config+swapped)
	plain(t, r.Client, "127.0.0.1:7003")
	awaitPaths(t, operator, "two ports", managed("ndiffports", "wifi wifi"))
	plain(t, r.Client, "127.0.0.1:7002")
	labtest.Await(t, pathPatience, "two full meshes", func() bool {
		list, err := operator.Paths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range list.Connections {
			if managed("fullmesh", "cell wifi")(&list.Connections[i]) {
				n++
			}
		}
		return n == 2
	})
	// Those from before are as they were, and still healed in their own way.
	victim := old.Subflows[1].Local
	kill(t, r.Client, "src", victim.String())
	awaitPaths(t, operator, "the same three ports", func(p *admin.Paths) bool {
		return p.Token == old.Token && managed("ndiffports", "wifi wifi wifi")(p) &&
			!slices.ContainsFunc(p.Subflows, func(s admin.Subflow) bool { return s.Local == victim })
	})
	awaitPaths(t, operator, "one subflow", managed("default", "wifi"))
	for _, c := range []net.Conn{mesh, ports, one} {
		exchange(t, c)
	}
}

// TestManagersWithoutRights leaves subflows to the kernel, and says so once.
func TestManagersWithoutRights(t *testing.T) {
	r := newRelayed(t, relayTo7)
	const nobody = 65534
	operator, config := operatorAt(t, nobody)
	near, err := apps.StartTandem(context.Background(), r.Client, asNobody(t, config+threeManagers))
	if err != nil {
		t.Fatal(err)
	}
	endWithTest(t, r.Client, near)
	for _, addr := range []string{"127.0.0.1:7001", "127.0.0.1:7002"} {
		c := plain(t, r.Client, addr)
		awaitPaths(t, operator, "the kernel's subflows", func(p *admin.Paths) bool {
			return p.Initiator && p.Manager == "kernel" && subflowsOn(p) == "cell wifi"
		})
		c.Close()
	}
	reload(t, near, config+strings.Replace(threeManagers, "subflows: 3", "subflows: 4", 1))
	plain(t, r.Client, "127.0.0.1:7002")
	if n := countLogged(near, "level=WARN", "subflows are left to the path manager of the kernel", "CAP_NET_ADMIN"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
