// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// roleVariable makes this test binary a process of another kind; see roles.
const roleVariable = "TANDEM_BPF_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		roles[role]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// roles are what child processes do. What they print is for the test.
var roles = map[string]func(){
	// hold runs the programs until it is killed or its standard input ends.
	"hold": func() {
		p, err := Open(Options{})
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(p.cgroup.path)
		io.Copy(io.Discard, os.Stdin)
		if err := p.Close(); err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println("closed")
	},
	// steer registers congestion controls, and prints by what their names are
	// known, until it is killed.
	"steer": func() {
		p, err := Open(Options{Steering: true})
		if err == nil {
			err = p.Missing()
		}
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(p.Steering().instance)
		io.Copy(io.Discard, os.Stdin)
	},
	// talk makes an MPTCP connection when its standard input ends.
	"talk": func() {
		fmt.Println("waiting")
		io.Copy(io.Discard, os.Stdin)
		ln, err := mptcp.NewListener(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Mode: mptcp.ModeRequire})
		if err == nil {
			d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}}
			_, err = d.DialContext(context.Background(), "tcp", ln.Addr().String())
		}
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println("talked")
	},
	// unprivileged tries to run them as nobody.
	"unprivileged": func() {
		const nobody = 65534
		if err := errors.Join(unix.Setgroups(nil), unix.Setgid(nobody), unix.Setuid(nobody)); err != nil {
			fmt.Println("error:", err)
			return
		}
		tryOpen()
	},
	// without-btf runs them where the kernel does not describe its types. It
	// needs a mount namespace of its own.
	"without-btf": func() {
		err := errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("/dev/null", "/sys/kernel/btf/vmlinux", "", unix.MS_BIND, ""))
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		p, err := Open(Options{Events: true})
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		defer p.Close()
		fmt.Println("SYN-ACKs:", p.SYNACKs() != nil)
		fmt.Println("events:", p.Events() != nil)
		fmt.Println("unavailable:", errors.Is(p.Missing(), ErrUnavailable))
		fmt.Println(p.Missing())
	},
	// few-capabilities tries to run all of them with no others than documented, on
	// any thread: they are those of a program that is started.
	"few-capabilities": func() {
		runtime.LockOSThread()
		for c := range unix.CAP_LAST_CAP + 1 {
			if c == unix.CAP_BPF || c == unix.CAP_PERFMON || c == unix.CAP_NET_ADMIN {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				fmt.Println("error:", err)
				return
			}
		}
		os.Setenv(roleVariable, "all-programs")
		fmt.Println("error:", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	},
	"all-programs": func() {
		p, err := Open(Options{Events: true, Steering: true, Requests: true})
		if err == nil {
			err = errors.Join(p.Missing(), p.Close())
		}
		fmt.Println("unavailable:", errors.Is(err, ErrUnavailable))
		fmt.Println(err)
	},
	// without-cgroup2 tries to run them where no cgroup2 is mounted. It needs
	// a mount namespace of its own.
	"without-cgroup2": func() {
		err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		for err == nil {
			var path string
			if path, err = presentCgroup(); err == nil {
				err = unmountAround(path)
			}
		}
		if !errors.Is(err, errNoCgroup2) {
			fmt.Println("error:", err)
			return
		}
		tryOpen()
	},
}

// unmountAround unmounts the file system that path is in.
func unmountAround(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if !errors.Is(err, unix.EINVAL) || path == "/" {
			return err
		}
		path = filepath.Dir(path) // path is not where it is mounted
	}
}

func tryOpen() {
	p, err := Open(Options{})
	if err == nil {
		p.Close()
	}
	fmt.Println("unavailable:", errors.Is(err, ErrUnavailable))
	fmt.Println(err)
}

// child starts this test binary in a role. Its output ends when it does.
func child(t *testing.T, role string, attr *syscall.SysProcAttr) (cmd *exec.Cmd, stdin io.Closer, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, in, bufio.NewScanner(out)
}

// line reads the next line that a child prints.
func line(t *testing.T, s *bufio.Scanner) string {
	t.Helper()
	if !s.Scan() {
		t.Fatalf("child ended early: %v", s.Err())
	}
	if strings.HasPrefix(s.Text(), "error:") {
		t.Fatalf("child: %s", s.Text())
	}
	return s.Text()
}

// needPrograms skips where programs like ours can never be attached. Anything
// else that keeps them from running is a failure.
func needPrograms(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to load eBPF programs")
	}
	if err := features.HaveProgramType(ebpf.SockOps); err != nil {
		t.Skip("kernel without sock_ops programs: ", err)
	}
	if _, err := presentCgroup(); errors.Is(err, errNoCgroup2) {
		t.Skip(err)
	}
}

// open runs the programs until the end of the test.
func open(t testing.TB, o Options) *Programs {
	t.Helper()
	needPrograms(t)
	p, err := Open(o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
