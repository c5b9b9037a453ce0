// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// inForceBefore and inForceAfter differ in everything that a reload changes. The
// second one is for the number of a routing table and the name of a file.
const (
	inForceBefore = `
limits: {connections: 1000}
subscribers:
  list: [{name: ada, password: geheim-geheim, sources: [198.51.100.0/24], policy: gold}]
  policies: [{name: gold, new-per-second: 100}]
listeners:
  - {name: first, type: forward, listen: ['192.0.2.1:7007'], allow-from: [198.51.100.0/24], subscribers: optional, forward: {target: '203.0.113.80:7'}}
  - {name: lan, type: tproxy, listen: ['0.0.0.0:8804'], allow-from: [198.51.100.0/24], tproxy: {interfaces: [wifi]}}
`
	inForceAfter = `
log: {level: error}
limits: {connections: 1}
subscribers:
  list: [{name: ada, password: geheim-geheim, sources: [198.51.100.0/24], policy: iron}]
  policies: [{name: iron, new-per-second: 1}]
listeners:
  - {name: later, type: forward, listen: ['192.0.2.1:7007'], allow-from: [198.51.100.0/24], subscribers: optional, socket: {keep-alive: {idle: 77s}}, options: {defaults: {scheduler: primary}}, paths: {manager: fullmesh, keep: 300s}, forward: {target: '203.0.113.80:77'}}
  - {name: converter, type: convert, listen: ['192.0.2.1:8803'], allow-from: [198.51.100.0/24], convert: {extended-header: true, cookies: required, cookie-key-file: %[2]s}}
  - {name: lan, type: tproxy, listen: ['0.0.0.0:8805'], allow-from: [198.51.100.0/24], tproxy: {interfaces: [cell], table: %[1]d}}
upstreams:
  - {name: other, type: direct}
`
)

// TestFailedReload has everything differ in a configuration that fails early, in
// the middle and as late as possible: everything stays.
func TestFailedReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, key := filepath.Join(dir, "admin.sock"), filepath.Join(dir, "key")
	operators := fmt.Sprintf("admin: {socket: %s}\n", socket)
	r := newRelayed(t, operators+inForceBefore)
	client := admin.NewClient(socket)
	t.Cleanup(client.Close)
	tunnel := r.tunnel(t, "192.0.2.1:7007")
	before := r.inForce(t, client)

	const ours, others = 7777, 7778
	after := func(table int) string { return operators + fmt.Sprintf(inForceAfter, table, key) }
	echo(t, r.Aggregator, "192.0.2.1:8899")
	shell(t, r.Aggregator, fmt.Sprintf("ip route add 203.0.113.99 dev core table %d", others))
	for _, c := range []struct{ name, config, want string }{
		{"no key", after(ours), "cookie-key-file"},
		{"an address that is taken", strings.Replace(after(ours), ":8803", ":8899", 1), "address already in use"},
		{"a routing table that is taken", after(others), "in use"},
	} {
		if err := r.tandem.Write(c.config); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		awaitInForce(t, c.name, before, func() []string { return r.inForce(t, client) })
		exchange(t, tunnel)
		r.tunnel(t, "192.0.2.1:7007").Close()
		if err := os.WriteFile(key, []byte("a secret for cookies"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// Without what is in its way it comes into force, all of it.
	if err := r.tandem.Write(after(ours)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, now := range r.inForce(t, client) {
		if now == before[i] {
			t.Errorf("the next configuration changes nothing of\n%s", now)
		}
	}
	exchange(t, tunnel)
}

// inForce tells what a tandem has made of its configuration, in sections.
func (r *relayed) inForce(t *testing.T, client *admin.Client) (sections []string) {
	t.Helper()
	section := func(name string, what any) { sections = append(sections, fmt.Sprintf("%s:\n%v", name, what)) }
	for _, command := range []string{
		"cat /proc/sys/net/mptcp/path_manager /proc/sys/net/mptcp/stale_loss_cnt /proc/sys/net/mptcp/close_timeout",
		"ss -ltnHe | sed 's/  */ /g' | grep -o '192.0.2.1:[78].*\\|0.0.0.0:88.*' | grep -v :8899 | sort",
		"nft list ruleset",
		"ip rule",
	} {
		out, err := r.Aggregator.Command(context.Background(), "sh", "-c", command).Output()
		if err != nil {
			t.Fatal(err)
		}
		section(command, string(out)) // a command that is missing prints nothing, which never changes
	}
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	section("listeners", s.Listeners)
	section("upstreams", s.Upstreams)
	level, err := client.LogLevel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	section("log level", level)
	if bannerLine(t, r.tandem, "eBPF") == "yes" {
		section("programs", attachedPrograms(t, cgroupOf(t, r.tandem)))
	}
	section("descriptors", strings.Join(descriptors(t, r.tandem.Pid()), "\n"))
	return sections
}

// awaitInForce waits until requests that were just answered have left no trace, and
// tells what else is different.
func awaitInForce(t *testing.T, when string, want []string, now func() []string) {
	t.Helper()
	var got []string
	defer func() {
		for i := range got {
			if got[i] != want[i] {
				t.Logf("after %s: %s\nwant %s", when, got[i], want[i])
			}
		}
	}()
	labtest.Await(t, patience, "everything to be as before "+when, func() bool { got = now(); return slices.Equal(got, want) })
}

// descriptors are those of a process by their kinds, but for pipes, which
// connections have from a pool.
func descriptors(t *testing.T, pid int) (kinds []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`\[\d+\]`)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(target, "pipe:") {
			continue
		}
		kinds = append(kinds, number.ReplaceAllString(target, ""))
	}
	slices.Sort(kinds)
	return kinds
}

// TestAnswersDuringReload holds a reload wherever it reads a secret, while
// operators and scrapes are answered.
func TestAnswersDuringReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, key := filepath.Join(dir, "admin.sock"), filepath.Join(dir, "key")
	const secret = "a secret for cookies\n"
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRelayed(t, fmt.Sprintf(`admin: {socket: %s}
telemetry: {prometheus: {listen: ['127.0.0.1:9464']}}
%s  - {name: converter, type: convert, listen: ['192.0.2.1:8803'], allow-from: [198.51.100.0/24], convert: {cookies: required, cookie-key-file: %s}}
`, socket, relayTo7, key))
	client := admin.NewClient(socket)
	t.Cleanup(client.Close)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(key, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.Reload(context.WithoutCancel(t.Context()))
		done <- err
	}()

	held := 0
	labtest.Await(t, 6*patience, "the reload", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return true
		default:
		}
		f, err := os.OpenFile(key, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if errors.Is(err, syscall.ENXIO) {
			return false // nobody reads
		}
		if err != nil {
			t.Fatal(err)
		}
		held++
		r.answers(t, client)
		if _, err := f.WriteString(secret); err != nil {
			t.Error(err)
		}
		f.Close()
		return false
	})
	if held < 2 { // to look for mistakes, and to use it
		t.Errorf("the reload was held %d times", held)
	}
}

// answers checks that whoever asks is answered.
func (r *relayed) answers(t *testing.T, client *admin.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if s, err := client.Status(ctx); err != nil || len(s.Listeners) != 2 {
		t.Errorf("status: %+v, %v", s, err)
	}
	if err := client.Ready(ctx); err != nil {
		t.Errorf("ready: %v", err)
	}
	if _, err := client.Explain(ctx, admin.Question{Source: r.WiFi.Addr.V4, Destination: "203.0.113.80", Port: 7}); err != nil {
		t.Errorf("explain: %v", err)
	}
	scrape := labtest.Curl(t, r.Aggregator, "--max-time", "10", "http://127.0.0.1:9464/metrics")
	if scrape.ExitCode != 0 || scrape.Status != 200 || scrape.Size == 0 {
		t.Errorf("scrape: %+v", scrape)
	}
	exchange(t, r.tunnel(t, "192.0.2.1:7007"))
}
