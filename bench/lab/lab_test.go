// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestNewRefusesName(t *testing.T) {
	for _, name := range []string{"", "a-b", "A", "a/b", strings.Repeat("a", 25)} {
		if l, err := New(name); err == nil {
			l.Close()
			t.Errorf("name %q accepted", name)
		}
	}
}

func TestDoEntersAndLeaves(t *testing.T) {
	l := newLab(t, "do")
	h := mustHost(t, l, "a")
	inside := func() (ino uint64) {
		var st unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
			t.Error(err)
		}
		return st.Ino
	}
	var named unix.Stat_t
	if err := unix.Stat(filepath.Join(netnsDir, h.Namespace()), &named); err != nil {
		t.Fatal(err)
	}
	outside := inside()
	for range 50 {
		var got uint64
		if err := h.Do(func() error { got = inside(); return nil }); err != nil {
			t.Fatal(err)
		}
		if got != named.Ino {
			t.Fatalf("ran in namespace %d, want %d", got, named.Ino)
		}
		if now := inside(); now != outside {
			t.Fatalf("the caller is left in namespace %d, was in %d", now, outside)
		}
	}
	wantErr := errors.New("from inside")
	if err := h.Do(func() error { return wantErr }); !errors.Is(err, wantErr) {
		t.Errorf("error %v, want %v", err, wantErr)
	}
	func() {
		defer func() {
			if r := recover(); r != "from inside" {
				t.Errorf("recovered %v from a panic inside", r)
			}
		}()
		h.Do(func() error { panic("from inside") })
	}()
}

func TestSysctl(t *testing.T) {
	h := mustHost(t, newLab(t, "sysctl"), "a")
	if err := h.Sysctl("net.ipv4.ip_default_ttl", "33"); err != nil {
		t.Fatal(err)
	}
	var got []byte
	err := h.Do(func() (err error) {
		got, err = os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
		return err
	})
	if err != nil || strings.TrimSpace(string(got)) != "33" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := h.Sysctl("kernel.hostname", "lab"); err == nil {
		t.Error("a sysctl of the whole machine was accepted")
	}
}

func TestAddressAtRunTime(t *testing.T) {
	a, b, _ := pair(t, newLab(t, "addr"), LinkSpec{})
	port := listen(t, b, ":0", serving.Echo).Port()
	for _, addr := range []netip.Prefix{netip.MustParsePrefix("198.51.100.7/24"), netip.MustParsePrefix("2001:db8::7/64")} {
		if err := b.AddAddress("eth0", addr); err != nil {
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(addr.Addr(), port)
		checkEcho(t, mustDial(t, a, false, to))
		if err := b.RemoveAddress("eth0", addr); err != nil {
			t.Fatal(err)
		}
		// Binding tells at once; a dial would wait for neighbour discovery.
		err := b.Do(func() error {
			ln, err := net.Listen("tcp", netip.AddrPortFrom(addr.Addr(), 0).String())
			if err == nil {
				ln.Close()
			}
			return err
		})
		if !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("bind to the removed %s: %v", addr, err)
		}
	}
}

func TestProcess(t *testing.T) {
	h := mustHost(t, newLab(t, "process"), "a")
	out, err := h.Command(t.Context(), "ip", "-br", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); len(got) == 0 || got[0] != "lo" || strings.Count(string(out), "\n") != 1 {
		t.Errorf("links inside: %q", out)
	}
	p := h.Command(t.Context(), "sh", "-c", "echo oops >&2; exit 3")
	_, err = p.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "oops") || p.ExitCode() != 3 {
		t.Errorf("exit code %d, error %v", p.ExitCode(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p = h.Command(ctx, "sleep", "60")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Wait(); err == nil {
		t.Error("the cancelled process ended well")
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to an ended process: %v", err)
	}
	if err := h.Command(t.Context(), "/nonexistent").Run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start of nothing: %v", err)
	}
}

// TestCloseLeavesNothing closes a lab with a process that ignores SIGTERM and
// with a daemon that has left its parent.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, "close")
	a, _, _ := pair(t, l, LinkSpec{Rate: 10e6})
	pids := []int{startAndReadPid(t, a, "trap '' TERM; echo $$; exec sleep 60")}
	pids = append(pids, startAndReadPid(t, a, "setsid sleep 60 >/dev/null 2>&1 & echo $!"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkGone(t, l.ID(), pids)
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := l.Host("late"); !errors.Is(err, ErrClosed) {
		t.Errorf("host after close: %v", err)
	}
	if err := a.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("do after close: %v", err)
	}
	if err := a.Command(t.Context(), "true").Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("command after close: %v", err)
	}
}

// startAndReadPid runs a shell script that prints a pid first.
func startAndReadPid(t *testing.T, h *Host, script string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := h.Command(context.Background(), "sh", "-c", script)
	p.Stdout = w
	err = p.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// checkGone wants no namespace, no file and none of the processes left.
func checkGone(t *testing.T, id string, pids []int) {
	t.Helper()
	names, err := namespaceNames(id)
	if err != nil || len(names) != 0 {
		t.Errorf("namespaces %v left (%v)", names, err)
	}
	if _, err := os.Stat(filepath.Join(stateDir, id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("owner file: %v", err)
	}
	for _, pid := range pids {
		if state := processState(pid); state != "" && state != "Z" {
			t.Errorf("process %d is left in state %s", pid, state)
		}
	}
}

// processState is the state letter of a process, "" if there is none.
func processState(pid int) string {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "State:" {
			return f[1]
		}
	}
	return ""
}

// crashEnv makes TestMain's binary build a lab and wait to be killed.
const crashEnv = "TANDEM_LAB_CRASH"

// TestCleanAfterCrash kills a process that owns a lab with a process in it.
func TestCleanAfterCrash(t *testing.T) {
	if os.Getenv(crashEnv) != "" {
		crashingOwner(t)
	}
	living := newLab(t, "crash")
	mustHost(t, living, "a")

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	owner := exec.Command(os.Args[0], "-test.run=^TestCleanAfterCrash$")
	owner.Env = append(os.Environ(), crashEnv+"=1")
	owner.ExtraFiles = []*os.File{w}
	err = owner.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	owner.Process.Kill()
	owner.Wait()
	if err != nil {
		t.Fatalf("owner said %q: %v", line, err)
	}
	id, pidText, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := namespaceNames(id); err != nil || len(names) != 3 {
		t.Fatalf("the killed lab left namespaces %v (%v), want 3", names, err)
	}
	if processState(pid) == "" {
		t.Fatal("the killed lab's process is gone already")
	}
	cleaned, err := Clean("crash")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(cleaned, id) || slices.Contains(cleaned, living.ID()) {
		t.Errorf("cleaned %v, want %s and not %s", cleaned, id, living.ID())
	}
	checkGone(t, id, []int{pid})
	if names, err := namespaceNames(living.ID()); err != nil || len(names) != 1 {
		t.Errorf("namespaces of the living lab: %v (%v)", names, err)
	}
}

// crashingOwner tells its parent the lab and a process in it, and waits.
func crashingOwner(t *testing.T) {
	l, err := New("crash")
	if err != nil {
		t.Fatal(err)
	}
	a, _, _ := pair(t, l, LinkSpec{})
	p := a.Command(context.Background(), "sleep", "600")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	// As if it had been killed between making a mount point and mounting there.
	if err := os.WriteFile(filepath.Join(netnsDir, l.ID()+"-unmounted"), nil, 0); err != nil {
		t.Fatal(err)
	}
	parent := os.NewFile(3, "parent")
	parent.WriteString(l.ID() + " " + strconv.Itoa(p.Pid()) + "\n")
	select {}
}
