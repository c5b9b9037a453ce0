// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/sandbox"
)

// fourCapabilities are CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_PERFMON and
// CAP_BPF.
const fourCapabilities = "000000c000001400"

// confined runs tandem with a configuration of rights, started by root, where it
// relays to an echo server. What is in /run is its own.
func confined(t *testing.T, rights string) (r *relayed, client *admin.Client, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tandem-confined-") // everybody may look into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "run", "admin.sock")
	config := fmt.Sprintf("rights: %s\nadmin: {socket: %s}\nrecords: {file: {path: %s}}\nsubscribers: {quota-file: %s}\n%s", rights, socket,
		filepath.Join(dir, "log", "flows"), filepath.Join(dir, "state", "quotas"),
		strings.Replace(relayTo7, "allow-from", "paths: {manager: fullmesh}, allow-from", 1))
	c := tandemConfig(t, config)
	c.Dir = dir
	program := filepath.Join(dir, "tandem")
	copyFile(t, program, c.Command[0])
	c.Command = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs run /run && exec "$0" "$@"`, program}
	c.Env = append(c.Env, "GORACE=atexit_sleep_ms=0")

	r = &relayed{TwoPath: labtest.TwoPath(t, lab.TwoPathSpec{})}
	echo(t, r.Server, "203.0.113.80:7")
	if r.tandem, err = apps.StartTandem(context.Background(), r.Aggregator, c); err != nil {
		t.Fatal(err)
	}
	endWithTest(t, r.Aggregator, r.tandem)
	client = admin.NewClient(socket)
	t.Cleanup(client.Close)
	return r, client, dir
}

// statusOf is what the kernel says of a process.
func statusOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConfined: tandem has few rights, whoever it is, reloads and upgrades with
// them, and cannot read what is not its own.
func TestConfined(t *testing.T) {
	for rights, uid := range map[string]string{"{}": "0", "{user: nobody}": "65534"} {
		t.Run(rights, func(t *testing.T) {
			t.Parallel()
			testConfined(t, rights, uid)
		})
	}
}

func testConfined(t *testing.T, rights, uid string) {
	r, client, dir := confined(t, rights)
	endSuccessor(t, client)
	const addr = "192.0.2.1:7007"
	tunnel := r.tunnel(t, addr)
	pid := r.tandem.Pid()
	for range 3 {
		status := statusOf(t, pid)
		for _, want := range []string{
			"Uid:\t" + uid + "\t", "CapPrm:\t" + fourCapabilities, "CapEff:\t" + fourCapabilities, "CapBnd:\t" + fourCapabilities, "NoNewPrivs:\t1",
		} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in %s", want, status)
			}
		}
		if _, err := client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		done, err := client.Upgrade(t.Context())
		if err != nil {
			t.Fatalf("%v\n%s", err, r.tandem.Log)
		}
		pid = done.PID
		exchange(t, tunnel)
		r.tunnel(t, addr).Close()
	}
	if countLogged(r.tandem, "cannot") > 0 {
		t.Error("something could not be done")
	}
	if !sandbox.Supported() {
		return
	}

	// A file that everybody may read, and that no configuration has named.
	other, err := os.MkdirTemp("", "tandem-others-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(other)
	secret := filepath.Join(other, "secret")
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("nobody's business\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(secret)
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(r.tandem.File)
	if err != nil {
		t.Fatal(err)
	}
	with := func(file string) error {
		t.Helper()
		text := fmt.Sprintf("%s  - {name: s, type: socks5, listen: ['127.0.0.1:1080'], socks5: {users: [{name: u, password-file: %s}]}}\n", config, file)
		if err := r.tandem.Write(text); err != nil {
			t.Fatal(err)
		}
		_, err := client.Reload(t.Context())
		return err
	}
	if err := with(secret); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("it reads %s: %v", secret, err)
	}
	own := filepath.Join(dir, "password")
	write(own)
	if err := with(own); err != nil {
		t.Errorf("beside its configuration: %v", err)
	}
	tunnel.Close()
	r.awaitExit(t)
}

// TestUnconfined keeps everything.
func TestUnconfined(t *testing.T) {
	t.Parallel()
	_, client, _ := confined(t, "{sandbox: false}")
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status := statusOf(t, s.PID); !strings.Contains(status, "NoNewPrivs:\t0") || strings.Contains(status, "CapEff:\t"+fourCapabilities) {
		t.Error(status)
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
