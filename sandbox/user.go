// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// User is somebody to become.
type User struct {
	Name     string
	UID, GID int
	// Groups are those the user is in besides.
	Groups []int
}

// Lookup finds a user by name or number.
func Lookup(name string) (*User, error) {
	u, err := user.Lookup(name)
	if _, numeric := strconv.Atoi(name); err != nil && numeric == nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", name, err)
	}
	found := &User{Name: u.Username}
	for _, number := range []struct {
		text string
		to   *int
	}{{u.Uid, &found.UID}, {u.Gid, &found.GID}} {
		if *number.to, err = strconv.Atoi(number.text); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
	}
	for _, id := range ids {
		n, err := strconv.Atoi(id)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", name, err)
		}
		found.Groups = append(found.Groups, n)
	}
	return found, nil
}

// Join makes the user a member of another group.
func (u *User) Join(gid int) {
	if !slices.Contains(u.Groups, gid) {
		u.Groups = append(u.Groups, gid)
	}
}

// Own makes directories of the user's, if there are none, and gives the user
// files that belong to root. It has no effect on others, and on files that are
// not there.
func (u *User) Own(directories, files []string) error {
	for _, dir := range directories {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Lchown(dir, u.UID, u.GID); err != nil {
			return err
		}
	}
	for _, file := range files {
		info, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if s, is := info.Sys().(*syscall.Stat_t); is && s.Uid == 0 && info.Mode().IsRegular() {
			if err := os.Lchown(file, u.UID, u.GID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Become makes all threads of the process those of u. It takes root, keeps the
// capabilities that are permitted, and leaves none of them in effect: Keep does
// that.
func Become(u *User) error {
	if err := prctl(unix.PR_SET_KEEPCAPS, 1); err != nil {
		return fmt.Errorf("become user %s: %w", u.Name, err)
	}
	err := syscall.Setgroups(u.Groups)
	if err == nil {
		err = syscall.Setgid(u.GID)
	}
	if err == nil {
		err = syscall.Setuid(u.UID)
	}
	if err != nil {
		return fmt.Errorf("become user %s: %w", u.Name, err)
	}
	return nil
}

// Join makes all threads of the process members of another group. It takes root.
func Join(gid int) error {
	groups, err := syscall.Getgroups()
	if err != nil || slices.Contains(groups, gid) {
		return err
	}
	return syscall.Setgroups(append(groups, gid))
}

// prctl is prctl(2) on all threads.
func prctl(option, argument uintptr) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, option, argument, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
