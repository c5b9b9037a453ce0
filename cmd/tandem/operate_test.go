// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	closed := closedPort(t)
	l := startLocal(t, phones+fmt.Sprintf(`  - {name: away, type: socks5, listen: ["127.0.0.1:0"], mptcp: off, upstream: far}
upstreams:
  - {name: far, type: socks5, servers: [%q], when-down: refuse, health: {interval: 100ms, timeout: 100ms, fall: 2}}
`, closed))
	var s admin.Status
	labtest.Await(t, patience, "the hop to be down", func() bool {
		s = l.status()
		return len(s.Upstreams) == 2 && len(s.Upstreams[0].Hops) == 1 && !s.Upstreams[0].Hops[0].Up
	})
	if s.Version != version || s.State != admin.Running || s.PID != l.cmd.Process.Pid || s.Uptime <= 0 || s.Kernel.Release != kernelRelease() {
		t.Errorf("%+v", s)
	}
	if s.Kernel.MPTCP.OK != (mptcp.Supported() == nil) || s.Kernel.OpenFiles == 0 {
		t.Errorf("%+v", s.Kernel)
	}
	if h := s.Upstreams[0].Hops[0]; h.Name != "far/"+closed.String() || h.Failures < 2 || h.Checked == nil || !strings.Contains(h.Error, "refused") {
		t.Errorf("%+v", h)
	}
	if len(s.Listeners) != 2 || s.Listeners[0].Type != "socks5" || s.Listeners[0].Address.Port() == 0 || s.Listeners[0].Upstream != "direct" ||
		s.Listeners[1].MPTCP || s.Listeners[1].Reason != "not_asked" {
		t.Errorf("%+v", s.Listeners)
	}

	l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t)).Close()
	labtest.Await(t, patience, "the connection to end", func() bool { s = l.status(); return s.Connections.Active == 0 })
	if c := s.Connections; c.Accepted != 1 || c.Relayed != 1 || c.Up != uint64(len(stillThere)) || c.Down != c.Up || len(c.Refused) > 0 {
		t.Errorf("%+v", c)
	}
	text := l.must("status")
	for _, line := range []string{
		"connections    0 active, 1 accepted (0 with MPTCP), 1 served",
		"refused        none",
		"delivered      12 B up, 12 B down",
		"phones    socks5  " + s.Listeners[0].Address.String(),
		"far/" + closed.String() + "  down",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is not in\n%s", line, text)
		}
	}
	var printed admin.Status
	if err := json.Unmarshal([]byte(l.must("status", "--json")), &printed); err != nil || printed.PID != s.PID || len(printed.Listeners) != 2 {
		t.Errorf("%+v, %v", printed, err)
	}
	if !strings.Contains(l.banner.String(), "operators      "+l.socket) {
		t.Errorf("the banner does not tell of %s:\n%s", l.socket, l.banner)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	server := echoServer(t)
	l := startLocal(t, phones)
	phones := l.address("phones")
	ada, bob := l.tunnel(phones, "ada", mptcp.ModePrefer, server), l.tunnel(phones, "bob", mptcp.ModeOff, server)
	exchange(t, bob)

	all := l.connections("--sort", "bytes")
	if len(all) != 2 || all[0].User != "ada" || all[1].User != "bob" {
		t.Fatalf("%+v", all)
	}
	n := uint64(len(stillThere))
	for i, c := range all {
		want := []net.Conn{ada, bob}[i].LocalAddr().(*net.TCPAddr).AddrPort()
		if c.Phase != "relaying" || c.Listener != "phones" || c.Client.Address != want || c.Hop != "direct" ||
			c.Server == nil || c.Server.Address != server || c.Server.MPTCP || c.Server.Reason != "not_asked" ||
			c.Up != n*uint64(i+1) || c.Down != c.Up || c.Idle == nil || *c.Idle > c.Age {
			t.Errorf("%+v", c)
		}
	}
	if supported := mptcp.Supported() == nil; all[0].Client.MPTCP != supported || (all[0].Client.Token != 0) != supported || all[1].Client.MPTCP || all[1].Client.Token != 0 {
		t.Errorf("%+v and %+v", all[0].Client, all[1].Client)
	}

	for flags, want := range map[string][]uint64{
		"--listener phones --user bob --sort id":                                     {all[1].ID},
		"--client " + all[1].Client.Address.Addr().String() + " --sort id --limit 2": {all[0].ID, all[1].ID},
		"--client 192.0.2.0/24":                                                      nil,
		"--token 1":                                                                  nil,
		"--token " + all[0].Client.Token.String() + " --user ada":                    {all[0].ID},
	} {
		var ids []uint64
		for _, c := range l.connections(strings.Fields(flags)...) {
			ids = append(ids, c.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: %d, want %d", flags, ids, want)
		}
	}
	table := l.must("connections", "--user", "bob")
	for _, word := range []string{"relaying", "bob", all[1].Client.Address.String(), "peer_tcp", server.String(), "direct", "not_asked", "24 B"} {
		if !strings.Contains(table, word) {
			t.Errorf("%s is not in\n%s", word, table)
		}
	}
	if _, stderr, err := l.run("connections", "--limit", "1"); err != nil || !strings.Contains(stderr, "more than 1") {
		t.Errorf("%v, %q", err, stderr)
	}

	id := fmt.Sprint(all[1].ID)
	if out := l.must("kick", id); !strings.Contains(out, id) {
		t.Errorf("kicked: %q", out)
	}
	bob.SetDeadline(time.Now().Add(patience))
	if _, err := bob.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client that was kicked reads %v, want a reset", err)
	}
	l.mustNot([]string{"there is no connection " + id}, "kick", id)
	exchange(t, ada)
	if n := l.status().Connections.Active; n != 1 {
		t.Errorf("%d connections are left", n)
	}
}

func TestReloadByOperator(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	c := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	before := l.status()

	l.write(strings.Replace(phones, "type: socks5", "type: sox", 1))
	l.mustNot([]string{":3:26: listeners[0].type: \"sox\"", "the configuration from before stays in force"}, "reload")
	l.write(strings.Replace(phones, "127.0.0.1:0", echoServer(t).String(), 1))
	l.mustNot([]string{"address already in use; another program listens there: ss -ltnp", "stays in force"}, "reload")
	if after := l.status(); after.Listeners[0] != before.Listeners[0] {
		t.Errorf("%+v has become %+v", before.Listeners, after.Listeners)
	}
	exchange(t, c)

	l.write(phones + "  - {name: second, type: socks5, listen: [\"127.0.0.1:0\"]}\n")
	if out := l.must("reload"); !strings.Contains(out, "reloaded (listeners: 2, upstreams: 1)") || !strings.Contains(out, "warning: "+l.file+":3:") {
		t.Errorf("%q", out)
	}
	if l.address("phones") != before.Listeners[0].Address {
		t.Error("the first listener has moved")
	}
	l.address("second")
	exchange(t, c)

	l.socket += "2"
	l.write(phones)
	l.socket = strings.TrimSuffix(l.socket, "2")
	if out := l.must("reload"); !strings.Contains(out, "warning: what is below admin changes when tandem is started again") {
		t.Errorf("%q", out)
	}
	if !strings.Contains(l.log.String(), "what is below admin changes when tandem is started again") {
		t.Errorf("no word of the socket that does not move:\n%s", l.log)
	}
}

func TestLogLevelByOperator(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	if level := l.must("log-level"); level != "info\n" {
		t.Errorf("at first: %q", level)
	}
	if said := l.must("log-level", "debug"); said != "logged from level debug on, until the next reload\n" {
		t.Errorf("when changed: %q", said)
	}
	if level := l.must("log-level"); level != "debug\n" {
		t.Errorf("once changed: %q", level)
	}
	l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t)).Close()
	labtest.Await(t, patience, "a message of level debug", func() bool {
		return strings.Contains(l.log.String(), "connection ended")
	})
	l.mustNot([]string{`"loud" is no level; want debug, info, warn or error`}, "log-level", "loud")
	l.must("reload")
	if level := l.must("log-level"); level != "info\n" {
		t.Errorf("after a reload: %q", level)
	}
	if !strings.Contains(l.log.String(), "PUT /v1/log-level") || !strings.Contains(l.log.String(), fmt.Sprintf("uid=%d", os.Geteuid())) {
		t.Errorf("no word of who has changed the level:\n%s", l.log)
	}
}

func TestDrainByOperator(t *testing.T) {
	t.Parallel()
	l := startLocal(t, "drain-timeout: 1h\n"+phones)
	proxy := l.address("phones")
	c := l.tunnel(proxy, "ada", mptcp.ModeOff, echoServer(t))
	client := admin.NewClient(l.socket)
	defer client.Close()
	if err := errors.Join(client.Live(t.Context()), client.Ready(t.Context())); err != nil {
		t.Error(err)
	}
	if out := l.must("drain"); !strings.Contains(out, "1 connection may go on until ") {
		t.Errorf("%q", out)
	}
	labtest.Await(t, patience, "the listener to be closed", func() bool {
		c, err := net.Dial("tcp", proxy.String())
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if err := client.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "draining") {
		t.Errorf("ready: %v", err)
	}
	if err := client.Live(t.Context()); err != nil {
		t.Errorf("live: %v", err)
	}
	if s := l.status(); s.State != admin.Draining {
		t.Errorf("%+v", s)
	}
	l.mustNot([]string{"draining"}, "reload")
	exchange(t, c)
	all := l.connections()
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	l.must("kick", fmt.Sprint(all[0].ID))
	l.awaitEnd()
	if _, err := os.Lstat(l.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// The time of a second order counts.
func TestDrainIsCutShort(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	c := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	l.must("drain", "--timeout", "1h")
	exchange(t, c)
	l.must("drain", "--timeout", "10ms")
	l.awaitEnd()
	if !strings.Contains(l.log.String(), "connections were ended before their time") {
		t.Errorf("no word of the connection that was ended:\n%s", l.log)
	}
}
