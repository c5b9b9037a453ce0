// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	socks5 "golang.org/x/net/proxy"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
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

// answeredBy checks which process answers at the socket.
func (l *local) answeredBy(other *local) {
	l.t.Helper()
	if pid := l.status().PID; pid != other.cmd.Process.Pid {
		l.t.Errorf("%d answers instead of %d", pid, other.cmd.Process.Pid)
	}
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
	t.Cleanup(serving.Start(l, serving.Echo))
	return l.Addr().(*net.TCPAddr).AddrPort()
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
