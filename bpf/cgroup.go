// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errInside: programs of two instances on the same sockets would not do.
var errInside = errors.New("this process is in a cgroup of this package already")

// ownName is the form of the names that this package gives to cgroups:
// tandem-PID-RANDOM.
var ownName = regexp.MustCompile(`^tandem-([0-9]+)-[0-9]+$`)

// cgroupAttempts bounds how often something is tried that another process may
// come in the way of.
const cgroupAttempts = 16

// cgroup is one that was made for this process, with the process in it.
type cgroup struct {
	parent string // where the process was before
	path   string
}

// enterCgroup makes a cgroup below the one that this process is in, moves all
// threads of the process into it, and removes those that instances left behind
// which were killed. With inherited it stays in that of another instance.
func enterCgroup(inherited bool) (*cgroup, error) {
	parent, err := presentCgroup()
	if err != nil {
		return nil, err
	}
	if m := ownName.FindStringSubmatch(filepath.Base(parent)); m != nil {
		if m[1] == strconv.Itoa(os.Getpid()) {
			return nil, errInside
		}
		if inherited {
			return &cgroup{parent: filepath.Dir(parent), path: parent}, nil
		}
		// Started by another instance: be beside it, not subject to its programs.
		parent = filepath.Dir(parent)
	}
	removeLeftovers(parent)
	for range cgroupAttempts {
		c := &cgroup{parent: parent}
		c.path, err = os.MkdirTemp(parent, fmt.Sprintf("tandem-%d-", os.Getpid()))
		if err != nil {
			return nil, fmt.Errorf("create cgroup: %w", err)
		}
		err = moveProcess(os.Getpid(), c.path)
		if err == nil {
			return c, nil
		}
		os.Remove(c.path)
		// An instance that starts at this moment took the empty one for a leftover.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	return nil, fmt.Errorf("move into cgroup: %w", err)
}

// Cgroups is the directory in which the cgroup of this process is made, or was.
func Cgroups() (string, error) {
	dir, err := presentCgroup()
	if err == nil && ownName.MatchString(filepath.Base(dir)) {
		dir = filepath.Dir(dir)
	}
	return dir, err
}

// open opens its directory.
func (c *cgroup) open() (*os.File, error) { return os.Open(c.path) }

// id is by what the programs know the cgroup.
func (c *cgroup) id() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(c.path, &st); err != nil {
		return 0, fmt.Errorf("id of the cgroup: %w", err)
	}
	return st.Ino, nil // the number of a cgroup's inode is its id
}

// leave moves every process in the cgroup to where this one was before, and
// removes the cgroup.
func (c *cgroup) leave() error {
	var err error
	// Several rounds, because a process may fork while others are moved.
	for range cgroupAttempts {
		if err = c.evacuate(); err != nil {
			break
		}
		if err = os.Remove(c.path); !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	// Who has become another user may have no right to, and the next instance does
	// it when this process has ended.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("leave cgroup: %w", err)
	}
	return nil
}

func (c *cgroup) evacuate() error {
	list, err := os.ReadFile(filepath.Join(c.path, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, s := range strings.Fields(string(list)) {
		pid, err := strconv.Atoi(s)
		if err != nil || pid == 0 {
			continue // 0 is one that this process' pid namespace does not show
		}
		if err := moveProcess(pid, c.parent); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// moveProcess moves all threads of a process into the cgroup at path.
func moveProcess(pid int, path string) error {
	f, err := os.OpenFile(filepath.Join(path, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	return errors.Join(err, f.Close())
}

// removeLeftovers removes the cgroups below parent that nobody is in. The
// kernel refuses to remove the others.
func removeLeftovers(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if ownName.MatchString(e.Name()) {
			os.Remove(filepath.Join(parent, e.Name()))
		}
	}
}
