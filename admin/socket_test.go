// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := Listen(SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// files lists what is in the directory of a socket.
func files(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSocketIsMadeAndRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one", "two", "s")
	s := listen(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if n := files(t, path); len(n) != 1 {
		t.Errorf("beside the socket: %q", n)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
	if n := files(t, path); len(n) != 0 {
		t.Errorf("left: %q", n)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close() // as the end of a process that is killed does
	listen(t, path)
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestSocketOfALiveProcessIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := listen(t, path)
	if _, err := Listen(SocketOptions{Path: path}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second one: %v", err)
	}
	if n := files(t, path); len(n) != 1 {
		t.Errorf("beside the socket: %q", n)
	}
	// Its owner does not accept: the queue is full.
	for {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Listen(SocketOptions{Path: path}); !errors.Is(err, ErrInUse) {
		t.Errorf("beside one that is busy: %v", err)
	}
	first.Close()
	listen(t, path)
}

// Of many that start at once one gets the socket, and the others do not take it
// away when they end.
func TestSocketsThatAreMadeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	var mu sync.Mutex
	var won []*Socket
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			s, err := Listen(SocketOptions{Path: path})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, s)
			case !errors.Is(err, ErrInUse):
				t.Error(err)
			}
		})
	}
	running.Wait()
	if len(won) != 1 {
		t.Fatalf("%d have the socket", len(won))
	}
	won[0].Close()
}

func TestSocketOfAnotherIsNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := listen(t, path)
	if err := os.Remove(path); err != nil { // somebody cleans up
		t.Fatal(err)
	}
	listen(t, path)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestSocketsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    SocketOptions
		want error // nil: any
	}{
		{SocketOptions{Path: file}, ErrNotSocket},
		{SocketOptions{Path: filepath.Join(file, "s")}, unix.ENOTDIR},
		{SocketOptions{Path: filepath.Join(dir, "s"), Group: "no such group"}, nil},
		{SocketOptions{Path: filepath.Join(dir, strings.Repeat("s", 120))}, nil},
	} {
		if s, err := Listen(test.o); err == nil {
			s.Close()
			t.Errorf("%+v is possible", test.o)
		} else if test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test.o, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "kept" {
		t.Errorf("the file has become %q, %v", b, err)
	}
	if n := files(t, file); len(n) != 1 {
		t.Errorf("beside the file: %q", n)
	}
}

func TestSocketOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to any group")
	}
	for group, want := range map[string]uint32{"4242": 4242, "root": 0} {
		path := filepath.Join(t.TempDir(), "s")
		s, err := Listen(SocketOptions{Path: path, Group: group})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Gid != want || st.Mode&0o777 != 0o660 {
			t.Errorf("group %d, mode %o, %v", st.Gid, st.Mode&0o777, err)
		}
		s.Close()
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, name := range []string{"none", "dead"} {
		_, err := NewClient(filepath.Join(dir, name)).Status(t.Context())
		if err == nil || !strings.Contains(err.Error(), "is tandem running?") || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
