// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleEnv is what the test binary does as a successor.
const roleEnv = "HANDOVER_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := successor(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Each child that has not ended has a goroutine that waits for it, and the
	// race detector has them linger for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// successor serves one connection on what it was given.
func successor(role string) error {
	p, err := Inherited()
	if err != nil || p == nil {
		return fmt.Errorf("inherited %v, %w", p, err)
	}
	if v, set := os.LookupEnv(environment); set {
		return fmt.Errorf("%s=%s is for processes of this one as well", environment, v)
	}
	switch role {
	case "fail":
		return errors.New("on purpose")
	case "hang":
		_, err := p.talk.Read(make([]byte, 1)) // until it is killed, or its predecessor ends
		return err
	case "babble":
		fmt.Fprintln(p.talk, "ready")
		return nil
	}
	var greeting string
	if err := json.Unmarshal(p.State, &greeting); err != nil {
		return err
	}
	f := os.NewFile(uintptr(p.FDs[0]), "listener")
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	f.Close()
	left := p.Ready()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if role == "parent" {
		fmt.Fprintln(c, os.Getppid())
		return c.Close()
	}
	fmt.Fprintln(c, greeting, left)
	return c.Close()
}

// listener returns a listening socket, and its descriptor.
func listener(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	c.Control(func(u uintptr) { fd = int(u) })
	return l, fd
}

func start(t *testing.T, ctx context.Context, role string, fds ...int) (*Successor, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(roleEnv, role)
	t.Setenv("DROPPED", "1")
	return Start(ctx, Options{Command: []string{self}, FDs: fds, State: "hello", Drop: []string{"DROPPED"}})
}

func read(t *testing.T, addr net.Addr) string {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandOver(t *testing.T) {
	l, fd := listener(t)
	s, err := start(t, context.Background(), "serve", fd)
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the socket was made blocking: %#x, %v", flags, err)
	}
	if err := s.Leave(); err != nil {
		t.Error(err)
	}
	if got := read(t, l.Addr()); got != "hello <nil>\n" {
		t.Errorf("read %q", got)
	}
}

// TestSibling: the successor is no child of this process, which the parent of the
// test waits for.
func TestSibling(t *testing.T) {
	l, fd := listener(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(roleEnv, "parent")
	s, err := Start(context.Background(), Options{Command: []string{self}, FDs: []int{fd}, State: "hello", Sibling: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Leave(); err != nil {
		t.Error(err)
	}
	if got, want := read(t, l.Addr()), fmt.Sprintln(os.Getppid()); got != want {
		t.Errorf("the successor's parent is %q, want %q", got, want)
	}
}

func TestPredecessorDies(t *testing.T) {
	l, fd := listener(t)
	s, err := start(t, context.Background(), "serve", fd)
	if err != nil {
		t.Fatal(err)
	}
	s.talk.Close()
	if got := read(t, l.Addr()); !strings.Contains(got, "the predecessor has ended") {
		t.Errorf("read %q", got)
	}
}

func TestFailures(t *testing.T) {
	_, fd := listener(t)
	for role, want := range map[string]string{"fail": "exit status 1", "babble": "invalid character"} {
		_, err := start(t, context.Background(), role, fd)
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", role, err, want)
		}
	}
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, late)
	defer cancel()
	if _, err := start(t, ctx, "hang", fd); !errors.Is(err, ErrFailed) || !errors.Is(err, late) {
		t.Errorf("hang: %v", err)
	}
	if _, err := Start(context.Background(), Options{Command: []string{"/nonexistent"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

func TestInherited(t *testing.T) {
	if p, err := Inherited(); p != nil || err != nil {
		t.Errorf("no predecessor: %v, %v", p, err)
	}
	for _, value := range []string{"", "x", "-1", "99999999"} {
		t.Setenv(environment, value)
		if _, err := Inherited(); err == nil || !strings.Contains(err.Error(), environment) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// FuzzHear: a successor could be any program.
func FuzzHear(f *testing.F) {
	f.Add([]byte(`{"ready":true}` + "\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, other := net.Pipe()
		go func() { one.Write(b); one.Close() }()
		var w word
		_ = hear(other, &w)
		other.Close()
	})
}
