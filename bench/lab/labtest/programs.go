// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"context"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
)

// Nginx starts a web server that serves size bytes at /data on the given
// addresses of the host, until the end of the test. For more choice call
// NginxWith.
func Nginx(t testing.TB, h *lab.Host, size int64, listen ...netip.AddrPort) *apps.Nginx {
	t.Helper()
	return NginxWith(t, h, apps.NginxConfig{Listen: listen, Size: size})
}

// NginxWith starts a web server until the end of the test, in a directory of
// the test's own.
func NginxWith(t testing.TB, h *lab.Host, cfg apps.NginxConfig) *apps.Nginx {
	t.Helper()
	if _, err := exec.LookPath("/usr/sbin/nginx"); err != nil {
		needProgram(t, "nginx")
	}
	cfg.Dir = t.TempDir()
	n, err := apps.StartNginx(context.Background(), h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Curl runs curl on the host, until the end of the test at most. That curl
// fails does not fail the test: look at the exit code.
func Curl(t testing.TB, h *lab.Host, args ...string) apps.CurlResult {
	t.Helper()
	needProgram(t, "curl")
	r, err := apps.Curl(t.Context(), h, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Capture records the packets on a device of the host that match the filter,
// until Stop or the end of the test. More arguments are for tcpdump.
func Capture(t testing.TB, h *lab.Host, dev, filter string, more ...string) *capture.Capture {
	t.Helper()
	needProgram(t, "tcpdump")
	c, err := capture.Start(context.Background(), h, dev, filter, filepath.Join(t.TempDir(), "capture.pcap"), more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Service is a program that runs until the end of the test.
type Service struct {
	*lab.Process
	// Log is what it writes to standard output and standard error.
	Log *apps.Log
}

// Start starts a program on the host. At the end of the test it is stopped with
// SIGTERM, and its output is shown if the test has failed.
func Start(t testing.TB, h *lab.Host, name string, args ...string) *Service {
	t.Helper()
	s := &Service{Process: h.Command(context.Background(), name, args...), Log: new(apps.Log)}
	s.Stdout, s.Stderr = s.Log, s.Log
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s on %s wrote:\n%s", filepath.Base(name), h.Name(), s.Log)
		}
	})
	return s
}

func needProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}
