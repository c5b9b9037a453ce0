// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleEnv is what the test binary gives up, and dirEnv where it looks.
const roleEnv, dirEnv = "SANDBOX_TEST_ROLE", "SANDBOX_TEST_DIR"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := giveUp(role, os.Getenv(dirEnv)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// giveUp is a process that gives up rights, and tells of what it has left.
func giveUp(role, dir string) error {
	for range 4 { // more threads than one
		go func() { runtime.LockOSThread(); select {} }()
	}
	switch role {
	case "user":
		nobody, err := Lookup("nobody")
		if err != nil {
			return err
		}
		nobody.Join(12345)
		if err := nobody.Own([]string{filepath.Join(dir, "made")}, []string{filepath.Join(dir, "file"), filepath.Join(dir, "none")}); err != nil {
			return err
		}
		if err := Become(nobody); err != nil {
			return err
		}
		fallthrough
	case "root":
		if err := Keep(unix.CAP_NET_ADMIN, unix.CAP_BPF); err != nil {
			return err
		}
	case "files":
		if err := Confine(Paths{Read: []string{filepath.Join(dir, "read"), "/proc", "/lib", "/lib64", "/usr/lib", filepath.Dir(os.Args[0])},
			Write: []string{filepath.Join(dir, "write"), filepath.Join(dir, "none"), "/dev/null"}}); err != nil {
			return err
		}
		for _, name := range []string{"read/f", "write/f", "other/f"} {
			_, err := os.ReadFile(filepath.Join(dir, name))
			fmt.Println("read", name, errors.Is(err, fs.ErrPermission))
			err = os.WriteFile(filepath.Join(dir, name), nil, 0o600)
			fmt.Println("write", name, errors.Is(err, fs.ErrPermission))
		}
	}
	if role != "told" {
		if err := tell(); err != nil {
			return err
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), roleEnv+"=told")
		out, err := c.CombinedOutput()
		fmt.Printf("started: %s", out)
		return err
	}
	return tell()
}

// tell prints what all threads have.
func tell() error {
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var kept []string
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			switch name {
			case "Uid", "Groups", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs":
				kept = append(kept, name+" "+strings.TrimSpace(value))
			}
		}
		seen[strings.Join(kept, ", ")] = true
	}
	for what := range seen {
		fmt.Println(what)
	}
	if len(seen) != 1 {
		return errors.New("threads differ")
	}
	return nil
}

// inRole runs the test binary in a role.
func inRole(t *testing.T, role string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	// Everybody may look into it, and start the program there.
	dir, err := os.MkdirTemp("", "tandem-sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program", "test")
	for _, name := range []string{"program", "read", "write", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "f"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600), exec.Command("cp", self, program).Run()); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program)
	c.Dir = "/"
	c.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"made", "file"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); role == "user" && (err != nil || st.Uid == 0) {
			t.Errorf("%s belongs to %d, %v", name, st.Uid, err)
		}
	}
	return string(out)
}

// CAP_NET_ADMIN and CAP_BPF.
const twoCapabilities = "CapPrm 0000008000001000, CapEff 0000008000001000, CapBnd 0000008000001000, NoNewPrivs 1\n"

func TestBecome(t *testing.T) {
	one := "Uid 65534\t65534\t65534\t65534, Groups 12345 65534, " + twoCapabilities
	if out := inRole(t, "user"); out != one+"started: "+one {
		t.Errorf("%s\nwant twice %s", out, one)
	}
}

func TestKeep(t *testing.T) {
	out := inRole(t, "root")
	if strings.Count(out, twoCapabilities) != 2 || !strings.HasPrefix(out, "Uid 0\t") {
		t.Errorf("%s\nwant twice %s", out, twoCapabilities)
	}
}

func TestConfine(t *testing.T) {
	if !Supported() {
		t.Skip(ErrNoLandlock)
	}
	out := inRole(t, "files")
	for _, want := range []string{
		"read read/f false\nwrite read/f true\n", "read write/f false\nwrite write/f false\n", "read other/f true\nwrite other/f true\n",
		"started: Uid",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range []string{"root", "0"} {
		u, err := Lookup(name)
		if err != nil || u.UID != 0 || u.Name != "root" {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	if _, err := Lookup("nobody-of-that-name"); err == nil {
		t.Error("there is such a user")
	}
}
