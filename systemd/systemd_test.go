// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const roleEnv = "SYSTEMD_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		fds, err := Sockets()
		_, left := os.LookupEnv("LISTEN_FDS")
		fmt.Print(fds, " ", err, " ", left)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// manager hears what a service says.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{c}
}

// hear returns the next message; descriptors that come with it are closed.
func (m manager) hear(t *testing.T) string {
	t.Helper()
	m.SetReadDeadline(time.Now().Add(30 * time.Second))
	b, control := make([]byte, 1000), make([]byte, 100)
	n, l, _, _, err := m.ReadMsgUnix(b, control)
	if err != nil {
		t.Fatal(err)
	}
	messages, _ := unix.ParseSocketControlMessage(control[:l])
	for _, c := range messages {
		fds, _ := unix.ParseUnixRights(&c)
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	return string(b[:n])
}

func TestNotifications(t *testing.T) {
	m := newManager(t)
	for want, say := range map[string]func() error{
		"READY=1\nSTATUS=two lines":   func() error { return Ready("two\nlines") },
		"STOPPING=1\nSTATUS=bye":      func() error { return Stopping("bye") },
		"STATUS=so":                   func() error { return Status("so") },
		"RELOADING=1\nMONOTONIC_USEC": Reloading,
	} {
		if err := say(); err != nil {
			t.Error(err)
		}
		if got := m.hear(t); !strings.HasPrefix(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}

// TestMainPID returns when the manager knows, not before.
func TestMainPID(t *testing.T) {
	m := newManager(t)
	done := make(chan error, 1)
	go func() { done <- MainPID(42) }()
	if got := m.hear(t); got != "MAINPID=42" {
		t.Errorf("told %q", got)
	}
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	if got := m.hear(t); got != "BARRIER=1" {
		t.Errorf("told %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := errors.Join(Ready(""), MainPID(1), Watch(t.Context(), Watched{})); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Ready(""); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a manager that has gone: %v", err)
	}
}

// TestWatch: signs of life come while the program lives.
func TestWatch(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	lives := make(chan error)
	var log bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, Watched{
			Alive: func(ctx context.Context) error {
				select {
				case err := <-lives:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			Status: func() string { return "well" },
			Log:    slog.New(slog.NewTextHandler(&log, nil)),
		})
	}()
	for _, answer := range []error{nil, errors.New("stuck"), nil} {
		lives <- answer
		want := "STATUS=well\nWATCHDOG=1"
		if answer != nil {
			want = "STATUS=stuck"
		}
		for got := ""; got != want; { // it may have been too slow for a while
			if got = m.hear(t); got != want && got != "STATUS=context deadline exceeded" {
				t.Fatalf("told %q, want %q", got, want)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "stuck") {
		t.Errorf("the log says %s", log.String())
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := Watch(t.Context(), Watched{}); err == nil {
		t.Error("no time, and no error")
	}
}

func TestSockets(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for script, want := range map[string]string{
		"LISTEN_PID=$$ LISTEN_FDS=1":  "[3] <nil> false",
		"LISTEN_PID=$$ LISTEN_FDS=-1": `[] environment: LISTEN_FDS="-1": want a number of descriptors true`,
		"LISTEN_PID=1 LISTEN_FDS=1":   "[] <nil> true",
		"LISTEN_PID=$$ LISTEN_FDS=99": "of 99 from the service manager: bad file descriptor false",
	} {
		c := exec.CommandContext(t.Context(), "sh", "-c", script+" exec "+self)
		c.Env, c.ExtraFiles = []string{roleEnv + "=1", "GORACE=atexit_sleep_ms=0"}, []*os.File{file}
		if out, err := c.Output(); err != nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("%s: %s, %v; want %s", script, out, err, want)
		}
	}
}
