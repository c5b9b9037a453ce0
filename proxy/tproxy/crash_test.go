// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// installEnv makes the test binary install an interception of this name, and
// wait for a signal.
const installEnv = "TANDEM_TPROXY_TEST_INSTALL"

func installAndWait() {
	c := forwarded(both...)
	c.Name = os.Getenv(installEnv)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGTERM)
	i, err := Install(c)
	fmt.Println("installed:", err)
	if err != nil {
		os.Exit(1)
	}
	<-interrupted
	i.Close()
}

// startInstalled starts another process that installs.
func (h home) startInstalled(t *testing.T, name string) *labtest.Service {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := labtest.Start(t, h.CPE, "env", installEnv+"="+name, executable)
	labtest.Await(t, patience, "installation by the other process", func() bool {
		return strings.Contains(s.Log.String(), "installed: <nil>\n")
	})
	return s
}

func TestLeftoversOfCrashAreRepaired(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	before := state(t, h.CPE)
	other := h.startInstalled(t, "tandem")

	if _, err := tryInstall(h.CPE, forwarded(both...)); !errors.Is(err, ErrInUse) {
		t.Fatalf("installed over a running instance: %v", err)
	}
	if err := other.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-other.Done()
	if left := state(t, h.CPE); left == before || !strings.Contains(left, "proto 97") {
		t.Fatalf("a killed process left nothing behind:\n%s", left)
	}
	to := h.targets(serverPort)[0]
	if got := (call{host: h.Client, to: to}).greeting(t); got != "server "+h.clientAddr(to) {
		t.Errorf("after the crash %v answered %q", to, got)
	}

	// Another mark and table: what is left is not in the way, and goes.
	c := forwarded(both...)
	c.Mark, c.Table, c.Priority = 0x99, 99, 99
	i := install(t, h.CPE, c)
	if now := state(t, h.CPE); strings.Contains(now, fmt.Sprint(DefaultTable)) {
		t.Errorf("leftovers are still there:\n%s", now)
	}
	if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("%v answered %q", to, got)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	unchanged(t, h.CPE, before)
}

func TestRestartAfterCrash(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	before := state(t, h.CPE)
	other := h.startInstalled(t, "tandem")
	if err := other.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-other.Done()
	i := install(t, h.CPE, forwarded(both...))
	for _, to := range h.targets(serverPort) {
		if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "proxy ") {
			t.Errorf("%v answered %q", to, got)
		}
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	unchanged(t, h.CPE, before)
}

func TestInstancesShareRouting(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	before := state(t, h.CPE)
	other := h.startInstalled(t, "other")
	i := install(t, h.CPE, forwarded(both...))
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	to := h.targets(serverPort)[0]
	if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("after the other instance went, %v answered %q", to, got)
	}
	// Another mark for the same table.
	partly := forwarded(both...)
	partly.Name, partly.Mark = "third", 0x99
	third := install(t, h.CPE, partly)
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("after the second instance went, %v answered %q", to, got)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	unchanged(t, h.CPE, before)
}
