// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// labProgram is `tandem lab` with arguments.
func labProgram(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"lab"}, args...)...)
	cmd.Env = append(os.Environ(), asTandem+"=1", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	return cmd
}

// askLab runs `tandem lab` and returns what it prints on both streams.
func askLab(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := labProgram(t, args...).CombinedOutput()
	return string(out), err
}

func mustAskLab(t *testing.T, args ...string) string {
	t.Helper()
	out, err := askLab(t, args...)
	if err != nil {
		t.Fatalf("tandem lab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(lab.ErrNeedsRoot)
	}
}

var labUp = regexp.MustCompile(`lab (tdm-lab-[0-9a-f]+) is up`)

// upLab brings a lab up, and returns its owner and ID. The owner is killed at
// the end, if it still lives.
func upLab(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	owner := labProgram(t, append([]string{"up"}, args...)...)
	var id string
	var out apps.Log
	owner.Stdout, owner.Stderr = &out, &out
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { owner.Wait(); close(ended) }()
	t.Cleanup(func() {
		owner.Process.Kill()
		<-ended
		if id != "" {
			lab.Clean(strings.TrimPrefix(id, lab.IDPrefix))
		}
	})
	labtest.Await(t, 30*time.Second, "the lab to be up", func() bool {
		select {
		case <-ended:
			t.Fatalf("tandem lab up has ended: %s", &out)
		default:
		}
		if m := labUp.FindStringSubmatch(out.String()); m != nil {
			id = m[1]
		}
		return id != ""
	})
	return owner, id
}

// TestLabCommands goes through the life of a lab, which ends with SIGKILL.
func TestLabCommands(t *testing.T) {
	t.Parallel()
	needRoot(t)
	owner, id := upLab(t, "two-path")
	if got := mustAskLab(t, "list"); !strings.Contains(got, id+"\tup\taggregator client server\n") {
		t.Errorf("listed %q", got)
	}
	if got := mustAskLab(t, "exec", "--lab", id, "client", "ip", "-br", "address", "show", "wifi"); !strings.Contains(got, "198.51.100.2/25") {
		t.Errorf("the address of the client is %q", got)
	}
	mustAskLab(t, "set", "--lab", id, "wifi.delay=1ms", "wifi.back.loss=2%", "cell.up=false")
	if got := mustAskLab(t, "exec", "--lab", id, "client", "ip", "-br", "link", "show", "cell"); strings.Contains(got, ",UP") {
		t.Errorf("a link that is down is %q", got)
	}
	for _, args := range [][]string{
		{"set", "--lab", id, "dsl.delay=1ms"},
		{"set", "--lab", id, "wifi.delay=never"},
		{"set", "--lab", "tdm-lab-none", "wifi.delay=1ms"},
		{"exec", "--lab", id, "nobody", "true"},
		{"exec", "--lab", id, "client", "false"},
		{"up", "no-such-preset"},
		{"run", "two-path", "--host", "nobody", "--", "true"},
	} {
		if out, err := askLab(t, args...); err == nil {
			t.Errorf("tandem lab %s: %s", strings.Join(args, " "), out)
		}
	}

	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, 30*time.Second, "the lab to be an orphan", func() bool {
		return strings.Contains(mustAskLab(t, "list"), id+"\torphaned")
	})
	if got := mustAskLab(t, "clean", "--lab", id); got != "removed "+id+"\n" {
		t.Errorf("clean says %q", got)
	}
	if got := mustAskLab(t, "list"); strings.Contains(got, id) {
		t.Errorf("left after clean: %q", got)
	}
	for _, pattern := range []string{"/run/netns/" + id + "*", "/run/tandem-lab/" + id, "/run/tandem-lab/control/" + id} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left after clean: %v", left)
		}
	}
}

// TestLabRun runs commands in a lab of their own, with a script in the file and
// a trace.
func TestLabRun(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	file, trace := filepath.Join(dir, "net.yaml"), filepath.Join(dir, "rate.csv")
	topology := `hosts: {client: , server: }
links:
  wire:
    a: {host: client, addresses: [192.0.2.1/24]}
    b: {host: server, addresses: [192.0.2.2/24]}
script: ["at 0s: wire.up=false"]
`
	if err := os.WriteFile(file, []byte(topology), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trace, []byte("seconds,value\n0,3M\n0.01,5M\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The script takes the link down while the command looks at it.
	const look = `i=0; while ip -br link show wire | grep -q ',UP'; do i=$((i+1)); [ $i -lt 600 ] || exit 1; sleep 0.05; done; echo $TANDEM_LAB`
	out := mustAskLab(t, "run", "--replay", "wire.rate="+trace, file, "--", "sh", "-c", look)
	if !strings.HasPrefix(out, "tdm-lab-") {
		t.Errorf("the command printed %q", out)
	}
	if left, _ := filepath.Glob("/run/netns/" + strings.TrimSpace(out) + "*"); len(left) > 0 {
		t.Errorf("left after the command: %v", left)
	}
	for name, args := range map[string][]string{
		"the command fails":        {"run", file, "--", "false"},
		"no such trace":            {"run", "--replay", "wire.rate=" + trace + "x", file, "--", "true"},
		"no such link in --replay": {"run", "--replay", "dsl.rate=" + trace, file, "--", "sleep", "60"},
		"trace without a property": {"run", "--replay", trace, file, "--", "true"},
	} {
		if out, err := askLab(t, args...); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestLabInterrupt ends a lab as Ctrl-C does.
func TestLabInterrupt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	owner, id := upLab(t, "dual-stack")
	if err := owner.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, 30*time.Second, "the lab to be gone", func() bool {
		return !strings.Contains(mustAskLab(t, "list"), id)
	})
	if left, _ := filepath.Glob("/run/netns/" + id + "*"); len(left) > 0 {
		t.Errorf("left after the end: %v", left)
	}
}
