// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// exposure bounds what "systemd-analyze security" may say, times ten.
const exposure = "20"

// TestUnits has systemd check the units, and how exposed the service is.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	dir := t.TempDir()
	for _, unit := range []string{"tandem.service", "tandem.socket"} {
		b, err := os.ReadFile(filepath.Join("systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		// Only a program and a manual that are there are not found fault with.
		text := strings.NewReplacer("/usr/sbin/tandem", "/bin/true", "man:tandem(8) ", "").Replace(string(b))
		if err := os.WriteFile(filepath.Join(dir, unit), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// Of units of others it says things as well.
		said := run(t, "systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit))
		for line := range strings.Lines(said) {
			if strings.Contains(line, "tandem") {
				t.Error(line)
			}
		}
	}
	said := run(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+exposure, "systemd/tandem.service")
	t.Log(said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:])
}

// served is what the service is to do: all that needs rights.
const served = `
listeners:
  - {name: local, type: socks5, listen: ["127.0.0.1:1080", "[::1]:1080"]}
  - {name: low, type: socks5, listen: ["127.0.0.1:80"]}
  - name: lan
    type: tproxy
    listen: ["127.0.0.1:8804"]
    tproxy: {interfaces: [lan]}
    paths: {manager: fullmesh}
subscribers: {quota-file: /var/lib/tandem/quotas}
records: {file: {path: /var/log/tandem/flows.json}}
`

const override = `[Service]
StandardOutput=file:/tmp/banner
StandardError=file:/tmp/log
WatchdogSec=%d
`

// watchdog is short enough for a test, and long enough for a busy machine.
const watchdog = 6

// TestSystemd installs the package on a machine of its own, and lives through
// the life of the service there.
func TestSystemd(t *testing.T) {
	need(t, "dpkg-deb", "dpkg")
	m := newMachine(t)
	m.install(t)
	write(t, m.path("/etc/systemd/system/tandem.service.d/test.conf"), fmt.Sprintf(override, watchdog))
	config := m.path("/etc/tandem/tandem.yaml")
	write(t, config, served)
	m.run(t, "systemctl", "daemon-reload")
	m.run(t, "systemctl", "start", "tandem.service")

	banner, err := os.ReadFile(m.path("/tmp/banner"))
	if err != nil || !strings.Contains(string(banner), "127.0.0.1:80 MPTCP") || strings.Contains(string(banner), "CAP_") {
		t.Errorf("it says %s, %v", banner, err)
	}
	first := m.mainPID(t)
	status, err := os.ReadFile(m.path(fmt.Sprintf("/proc/%d/status", first)))
	if err != nil {
		t.Fatal(err)
	}
	// CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
	for _, want := range []string{"CapEff:\t000000c000001400\n", "CapBnd:\t000000c000001400\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	if strings.Contains(string(status), "Uid:\t0") {
		t.Error("it runs as root")
	}
	if got := m.property(t, "StatusText"); got != "Serving 0 connections" {
		t.Errorf("status %q", got)
	}

	m.run(t, "systemctl", "reload", "tandem.service")
	write(t, config, "listeners: nonsense")
	m.run(t, "systemctl", "reload", "tandem.service")
	labtest.Await(t, patience, "word of the mistake", func() bool {
		return strings.HasPrefix(m.property(t, "StatusText"), "The configuration from before is in force")
	})
	write(t, config, served)

	m.run(t, "tandem", "upgrade")
	second := m.mainPID(t)
	if second == first {
		t.Errorf("the main process is still %d", first)
	}
	m.install(t) // is an upgrade too
	labtest.Await(t, patience, "the upgrade of the package", func() bool { return m.mainPID(t) != second })
	if got := m.property(t, "NRestarts") + m.property(t, "ActiveState"); got != "0active" {
		t.Errorf("restarts and state: %s", got)
	}

	m.run(t, "kill", "-STOP", strconv.Itoa(m.mainPID(t)))
	m.awaitProperty(t, "NRestarts", "1")
	m.awaitProperty(t, "ActiveState", "active")
	m.run(t, "systemctl", "stop", "tandem.service")
	if got := m.property(t, "Result") + m.property(t, "ActiveState"); got != "successinactive" {
		t.Errorf("result and state: %s\n%s", got, m.log())
	}
	if rules := m.run(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("rules are left: %s", rules)
	}
	m.activate(t)
	m.run(t, "dpkg", "-r", "tandem")
	if got := m.property(t, "ActiveState"); got != "inactive" {
		t.Errorf("the package is removed, and the service is %s", got)
	}
}

// activate has systemd listen for tandem: clients start it, and wait while it is
// started again.
func (m *machine) activate(t *testing.T) {
	t.Helper()
	m.run(t, "systemctl", "start", "tandem.socket")
	m.greet(t)
	m.awaitProperty(t, "ActiveState", "active")
	said := m.run(t, "tandem", "status", "--json")
	if !strings.Contains(said, `"not_asked"`) { // systemd's sockets are TCP
		t.Errorf("no socket is systemd's: %s", said)
	}
	pid := m.mainPID(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.try("systemctl", "restart", "tandem.service"); err != nil {
			t.Errorf("restart: %v", err)
		}
	}()
	for running := true; running; {
		m.greet(t)
		select {
		case <-done:
			running = false
		default:
		}
	}
	if m.mainPID(t) == pid {
		t.Error("it was not started again")
	}
	m.run(t, "tandem", "upgrade")
	m.greet(t)
	m.run(t, "systemctl", "stop", "tandem.socket", "tandem.service")
}

// greet is a SOCKS5 client that gets an answer.
func (m *machine) greet(t *testing.T) {
	t.Helper()
	ns, err := netns.GetFromPid(m.init)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	c, err := dialIn(ns, "127.0.0.1:1080")
	if err != nil {
		t.Fatalf("%v\n%s", err, m.log())
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	answer := make([]byte, 2)
	_, err = c.Write([]byte{5, 1, 0})
	if err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err != nil || answer[0] != 5 {
		t.Errorf("answer % x, %v\n%s", answer, err, m.log())
	}
}

// dialIn connects in a network namespace.
func dialIn(ns netns.NsHandle, address string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() { // on a thread that ends with it
		defer close(done)
		runtime.LockOSThread()
		if err = netns.Set(ns); err == nil {
			c, err = net.DialTimeout("tcp", address, patience)
		}
	}()
	<-done
	return c, err
}
