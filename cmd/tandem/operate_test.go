// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	socks5 "golang.org/x/net/proxy"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// local is tandem on this machine, with a socket for operators.
type local struct {
	t           *testing.T
	program     []string
	cmd         *exec.Cmd
	file        string
	socket      string
	banner, log *apps.Log
	ended       chan struct{}
}

const phones = `listeners:
  - {name: phones, type: socks5, listen: ["127.0.0.1:0"], destinations: {allow: [127.0.0.0/8]}, socks5: {users: [{name: ada, password: secret}, {name: bob, password: secret}]}}
`

// newLocal is a tandem that is not running yet. Its socket is in a directory
// that only the user of the test may change.
func newLocal(t *testing.T, config string) *local {
	t.Helper()
	dir, err := os.MkdirTemp("", "tandem-") // short, as paths of sockets have to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t: t, program: []string{program}, file: filepath.Join(dir, "tandem.yaml"), socket: filepath.Join(dir, "run", "s")}
	l.write(config)
	return l
}

func startLocal(t *testing.T, config string) *local {
	t.Helper()
	l := newLocal(t, config)
	l.start()
	return l
}

func (l *local) write(config string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte("admin: {socket: "+l.socket+"}\n"+config), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *local) command(args ...string) *exec.Cmd {
	args = append(l.program[1:len(l.program):len(l.program)], args...)
	cmd := exec.CommandContext(l.t.Context(), l.program[0], args...)
	cmd.Env = append(os.Environ(), asTandem+"=1", "GORACE=halt_on_error=1")
	return cmd
}

// start starts tandem and waits until it serves. It is ended with the test, if
// not before.
func (l *local) start() {
	l.t.Helper()
	l.banner, l.log, l.ended = new(apps.Log), new(apps.Log), make(chan struct{})
	l.cmd = l.command("run", "--config", l.file)
	l.cmd.Cancel = func() error { return l.cmd.Process.Signal(syscall.SIGTERM) }
	l.cmd.Stdout, l.cmd.Stderr = l.banner, l.log
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	cmd, ended := l.cmd, l.ended
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	l.t.Cleanup(func() { // after the end of the test's context
		<-ended
		if l.t.Failed() {
			l.t.Logf("%s%s", l.banner, l.log)
		}
	})
	labtest.Await(l.t, patience, "tandem to serve", func() bool {
		select {
		case <-ended:
			l.t.Fatalf("tandem has ended:\n%s", l.log)
		default:
		}
		return strings.Contains(l.banner.String(), "Ready.")
	})
}

// awaitEnd waits until tandem has ended well.
func (l *local) awaitEnd() {
	l.t.Helper()
	labtest.Await(l.t, patience, "tandem to end", func() bool {
		select {
		case <-l.ended:
			return true
		default:
			return false
		}
	})
	if code := l.cmd.ProcessState.ExitCode(); code != 0 {
		l.t.Errorf("exit code %d", code)
	}
}

// run runs a command that asks this tandem.
func (l *local) run(args ...string) (stdout, stderr string, err error) {
	l.t.Helper()
	cmd := l.command(append(args, "--socket", l.socket)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// must runs a command that has to succeed.
func (l *local) must(args ...string) string {
	l.t.Helper()
	stdout, stderr, err := l.run(args...)
	if err != nil || stderr != "" {
		l.t.Fatalf("tandem %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

// mustNot runs a command that has to fail and say why.
func (l *local) mustNot(words []string, args ...string) {
	l.t.Helper()
	stdout, stderr, err := l.run(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || stdout != "" {
		l.t.Errorf("tandem %s: %v, prints %q", strings.Join(args, " "), err, stdout)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			l.t.Errorf("tandem %s does not say %q:\n%s", strings.Join(args, " "), w, stderr)
		}
	}
}

// status asks for the status, without the time that a process takes to start.
func (l *local) status() admin.Status {
	l.t.Helper()
	client := admin.NewClient(l.socket)
	defer client.Close()
	s, err := client.Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// connections asks for those with some flags.
func (l *local) connections(flags ...string) (all []admin.Connection) {
	l.t.Helper()
	for line := range strings.Lines(l.must(append([]string{"connections", "--json"}, flags...)...)) {
		var c admin.Connection
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			l.t.Fatalf("%v in %q", err, line)
		}
		all = append(all, c)
	}
	return all
}

// address is that of a listener.
func (l *local) address(name string) netip.AddrPort {
	l.t.Helper()
	for _, one := range l.status().Listeners {
		if one.Name == name {
			return one.Address
		}
	}
	l.t.Fatalf("no listener %s", name)
	return netip.AddrPort{}
}

// dialer dials in a mode.
type dialer mptcp.Mode

func (d dialer) Dial(network, address string) (net.Conn, error) {
	o := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.Mode(d)}, Timeout: patience}
	return o.DialContext(context.Background(), network, address)
}

// tunnel connects a user through a SOCKS5 listener and sees that it works.
func (l *local) tunnel(through netip.AddrPort, user string, mode mptcp.Mode, server netip.AddrPort) net.Conn {
	l.t.Helper()
	client, err := socks5.SOCKS5("tcp", through.String(), &socks5.Auth{User: user, Password: "secret"}, dialer(mode))
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := client.Dial("tcp", server.String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	exchange(l.t, c)
	return c
}

// echoServer echoes on this machine until the end of the test.
func echoServer(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

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

// closedPort is where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
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
	l.mustNot([]string{"address already in use", "stays in force"}, "reload")
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
	l.must("reload")
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

func TestTwoOfOneSocket(t *testing.T) {
	t.Parallel()
	first := startLocal(t, phones)
	second := newLocal(t, "")
	second.socket = first.socket
	second.write(phones)
	second.start()
	said := func() int { return strings.Count(second.log.String(), "operators cannot reach this tandem") }
	labtest.Await(t, patience, "a word on that", func() bool { return said() > 0 })
	if n := said(); n != 1 || !strings.Contains(second.log.String(), "another process answers there") {
		t.Errorf("said %d times:\n%s", n, second.log)
	}
	if !strings.Contains(second.banner.String(), "operators      no: "+first.socket+": another process answers there") {
		t.Errorf("the banner:\n%s", second.banner)
	}
	if pid := second.status().PID; pid != first.cmd.Process.Pid {
		t.Errorf("%d answers instead of %d", pid, first.cmd.Process.Pid)
	}
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	second.awaitEnd()
	if pid := first.status().PID; pid != first.cmd.Process.Pid {
		t.Errorf("%d answers instead of %d", pid, first.cmd.Process.Pid)
	}
}

func TestSocketOfAKilledOne(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-l.ended
	if _, err := os.Lstat(l.socket); err != nil {
		t.Fatalf("the socket went with its process: %v", err)
	}
	l.mustNot([]string{"is tandem running?"}, "status")
	l.start()
	if pid := l.status().PID; pid != l.cmd.Process.Pid {
		t.Errorf("%d answers instead of %d", pid, l.cmd.Process.Pid)
	}
}

// Descriptors and goroutines that requests take are given back.
func TestRequestsLeaveNothing(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	l.status()
	before := descriptors()
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 50 {
				client := admin.NewClient(l.socket)
				if _, err := client.Status(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := client.Connections(t.Context(), admin.Filter{}, func(*admin.Connection) error { return nil }); err != nil {
					t.Error(err)
				}
				client.Close()
			}
		})
	}
	asking.Wait()
	labtest.Await(t, patience, "descriptors to be given back", func() bool { return descriptors() <= before })
}

// asNobody makes the commands of a tandem those of a user without rights.
func (l *local) asNobody() {
	l.t.Helper()
	if os.Geteuid() != 0 {
		l.t.Skip("only root can become another user")
	}
	program := filepath.Join(filepath.Dir(l.file), "tandem")
	copyFile(l.t, program, l.program[0])
	l.program = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", program}
}

func TestSocketWithoutRights(t *testing.T) {
	t.Parallel()
	// The directory belongs to root.
	l := newLocal(t, phones)
	l.asNobody()
	l.start()
	if n := strings.Count(l.log.String(), "operators cannot reach this tandem"); n != 1 || !strings.Contains(l.log.String(), "permission denied") {
		t.Errorf("said %d times:\n%s", n, l.log)
	}
	if !strings.Contains(l.banner.String(), "operators      no: ") {
		t.Errorf("the banner:\n%s", l.banner)
	}
}

func TestStrangersAreKeptOut(t *testing.T) {
	t.Parallel()
	l := newLocal(t, phones)
	stranger := *l
	stranger.asNobody()
	l.start()
	info, err := os.Lstat(l.socket)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	stranger.mustNot([]string{"not allowed to use " + l.socket, "as root, or as a member of the group"}, "status")
	l.must("status")
}

func TestSocketOfAGroup(t *testing.T) {
	t.Parallel()
	l := newLocal(t, "")
	member := *l
	member.asNobody()
	if err := os.WriteFile(l.file, []byte("admin: {socket: "+l.socket+", group: \"65534\"}\n"+phones), 0o644); err != nil {
		t.Fatal(err)
	}
	l.start()
	if pid := member.status().PID; pid != l.cmd.Process.Pid {
		t.Errorf("%d answers instead of %d", pid, l.cmd.Process.Pid)
	}
}
