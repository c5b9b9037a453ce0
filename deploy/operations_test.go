// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const operationsPage = "../docs/operations.md"

// TestOperationsPage follows the page on a machine of its own, block by block.
func TestOperationsPage(t *testing.T) {
	need(t, "dpkg-deb", "dpkg")
	m := newMachine(t)
	m.install(t)
	config := m.path("/etc/tandem/tandem.yaml")
	write(t, m.path("/etc/systemd/system/tandem.service.d/test.conf"), "[Service]\nStandardError=append:/tmp/log\n")
	m.run(t, "mkdir", "-p", "/work/bin")
	m.run(t, "cp", "/usr/sbin/tandem", "/work/bin/tandem")
	blocks := labtest.Blocks(t, operationsPage, "sh systemd")
	if len(blocks) != 4 {
		t.Fatalf("the page has %d blocks; this test knows what four of them are for", len(blocks))
	}
	follow := func(i int) string {
		t.Helper()
		return m.run(t, "sh", "-euc", "cd /work\n"+blocks[i])
	}

	if said := follow(0); !strings.Contains(said, "Serving 0 connections") {
		t.Errorf("the status is\n%s", said)
	}

	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, string(text)+"records: {file: {path: /srv/records/flows.json}}\n")
	m.edit(t, "tandem")
	follow(1)
	if got := m.property(t, "TimeoutStopUSec"); got != "10min" {
		t.Errorf("the service may take %s to end", got)
	}
	m.run(t, "test", "-f", "/srv/records/flows.json")

	m.edit(t, "tandem.socket")
	follow(2)
	said := m.run(t, "tandem", "status")
	for _, want := range []string{"127.0.0.1:1080  not_asked", "[::1]:1080      yes"} { // systemd's socket, and its own
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	m.greet(t)
	if strings.Contains(m.log(), "that no listener has") {
		t.Errorf("a socket is systemd's that is nobody's:\n%s", m.log())
	}

	before := m.mainPID(t)
	if said := follow(3); !strings.Contains(said, "upgraded: process ") || m.mainPID(t) == before {
		t.Errorf("upgraded from %d to %d: %s", before, m.mainPID(t), said)
	}

	m.run(t, "systemctl", "stop", "tandem.socket")
	m.run(t, "tandem", "drain")
	m.awaitProperty(t, "ActiveState", "inactive")
	if got := m.property(t, "Result") + m.property(t, "NRestarts"); got != "success0" {
		t.Errorf("result and restarts after the drain: %s", got)
	}
}

// edit puts what the page has for a unit where systemctl edit does.
func (m *machine) edit(t *testing.T, unit string) {
	t.Helper()
	dir := unit
	if !strings.Contains(unit, ".") {
		dir += ".service"
	}
	write(t, m.path("/etc/systemd/system/"+dir+".d/override.conf"), labtest.Blocks(t, operationsPage, "ini "+unit)[0]+"\n")
	m.run(t, "systemctl", "daemon-reload")
}
