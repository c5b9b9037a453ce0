// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Errors of Listen.
var (
	ErrInUse     = errors.New("another process answers there")
	ErrNotSocket = errors.New("there is a file that is not a socket")
)

// SocketOptions say where a socket is and who may use it.
type SocketOptions struct {
	Path string
	// Group that may use it, by name or number, besides the user of the process;
	// empty: the group of the process.
	Group string
}

// Socket is a listening unix socket. Close removes its file, unless that has
// become another's.
type Socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo // nil: it is another's
}

// Listen opens a socket with mode 0660, and creates its directory if there is
// none. The socket of a process that has died is replaced. The error wraps
// ErrInUse if the process lives.
func Listen(o SocketOptions) (*Socket, error) {
	gid, err := GroupID(o.Group)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(o.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := vacant(o.Path); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	// Nobody may find the socket before its mode is right, or before it
	// listens, so that it gets its name last.
	temporary := fmt.Sprintf("%s.%d", o.Path, os.Getpid())
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	s := &Socket{UnixListener: l, path: temporary}
	if s.file, err = os.Lstat(temporary); err == nil {
		err = s.give(gid)
	}
	if err == nil {
		err = os.Rename(temporary, o.Path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(temporary)
		return nil, err
	}
	s.path = o.Path
	return s, nil
}

// give hands the socket to those who may use it.
func (s *Socket) give(gid int) error {
	if gid >= 0 {
		if err := os.Chown(s.path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(s.path, 0o660)
}

// Close stops to listen and removes the file.
func (s *Socket) Close() error {
	unlock, err := lock(filepath.Dir(s.path))
	if err == nil {
		defer unlock()
		if now, err := os.Lstat(s.path); err == nil && s.file != nil && os.SameFile(now, s.file) {
			_ = os.Remove(s.path) // the next one replaces it otherwise
		}
	}
	return s.UnixListener.Close()
}

// Inherit makes a Socket of a descriptor that another process listens on at a
// path, and that it will Leave. It belongs to the caller still.
func Inherit(path string, fd int) (*Socket, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(copied), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	u, is := l.(*net.UnixListener)
	if !is {
		_ = l.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrNotSocket)
	}
	u.SetUnlinkOnClose(false)
	s := &Socket{UnixListener: u, path: path}
	if s.file, err = os.Lstat(path); err != nil {
		_ = l.Close()
		return nil, err
	}
	return s, nil
}

// Leave has Close leave the file to another process.
func (s *Socket) Leave() { s.file = nil }

// vacant makes sure that nobody answers at a path.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return ErrNotSocket
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return ErrInUse
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil // its process has died
	case errors.Is(err, unix.EAGAIN):
		return ErrInUse // and does not keep up
	}
	return err
}

// lock keeps two processes from replacing each other's sockets in a directory
// at the same time.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = d.Close() }, nil
}

// GroupID finds a group by its name or number; -1 for none.
func GroupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}
