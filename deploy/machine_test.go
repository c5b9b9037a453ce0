// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// patience bounds what ought to happen soon, on a machine that has other things
// to do as well.
const patience = 30 * time.Second

// machine is a systemd in namespaces of its own, with a copy of this machine's
// files.
type machine struct{ init int }

// newMachine boots one, which ends with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	need(t, "unshare", "nsenter", "systemctl", "/lib/systemd/systemd")
	if os.Getuid() != 0 {
		t.Skip("needs root: namespaces")
	}
	cgroup, dir := newCgroup(t), t.TempDir()
	boot := exec.Command("testdata/boot-systemd", cgroup, dir)
	var said bytes.Buffer
	boot.Stdout, boot.Stderr = &said, &said
	if err := boot.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- boot.Wait() }()
	t.Cleanup(func() {
		_ = boot.Process.Kill() // its child, the init process, is killed with it
		<-ended
	})
	m := &machine{}
	labtest.Await(t, patience, "systemd", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("systemd does not run here: %v, %s", err, said.String())
		default:
		}
		m.init = child(boot.Process.Pid)
		return m.init != 0 && m.try("systemctl", "is-active", "-q", "tandem-test.target") == nil
	})
	return m
}

// newCgroup makes a cgroup2 that is removed at the end, when nobody is in it.
func newCgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			dir, err := os.MkdirTemp(fields[1], "tandem-machine-")
			if err != nil {
				t.Skip("no cgroup can be made: ", err)
			}
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				labtest.Await(t, patience, "the processes to end", func() bool { return removeCgroup(dir) == nil })
			})
			return dir
		}
	}
	t.Skip("no cgroup2 is mounted")
	return ""
}

// removeCgroup removes a cgroup with those below it.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeCgroup(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

// child finds the process that another has started, 0 if there is none.
func child(parent int) int {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(list)))
	return pid
}

// command is a command in the machine.
func (m *machine) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.init), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"}, args...)...)
}

func (m *machine) try(args ...string) error { return m.command(args...).Run() }

// run returns what a command writes.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, m.log())
	}
	return strings.TrimSpace(string(out))
}

// install installs the package.
func (m *machine) install(t *testing.T) {
	t.Helper()
	run(t, "cp", debianPackage(t), m.path("/tmp/tandem.deb"))
	m.run(t, "dpkg", "--force-unsafe-io", "-i", "/tmp/tandem.deb")
}

// log is what tandem has logged.
func (m *machine) log() string {
	b, err := os.ReadFile(m.path("/tmp/log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// path is where a file of the machine is.
func (m *machine) path(file string) string { return fmt.Sprintf("/proc/%d/root%s", m.init, file) }

// property is what systemd knows of the service.
func (m *machine) property(t *testing.T, name string) string {
	t.Helper()
	return m.run(t, "systemctl", "show", "-P", name, "tandem.service")
}

// awaitProperty waits until it is as wanted.
func (m *machine) awaitProperty(t *testing.T, name, want string) {
	t.Helper()
	labtest.Await(t, patience, name+" to be "+want, func() bool { return m.property(t, name) == want })
}

// mainPID is the main process, by its number in the machine.
func (m *machine) mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(m.property(t, "MainPID"))
	if err != nil || pid == 0 {
		t.Fatalf("main process %d, %v\n%s", pid, err, m.log())
	}
	return pid
}
