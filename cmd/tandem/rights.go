// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/sandbox"
)

// keptCapabilities are those that Tandem may need at any time, also after a
// reload. docs/security.md says what for.
var keptCapabilities = []int{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_BPF, unix.CAP_PERFMON}

// confine gives up the rights that a configuration does not keep. It reports
// whether files are out of reach from now on, for this process and its
// successors.
func confine(c *config.Config, file string, command []string, left *estate, log *slog.Logger) (confined bool, err error) {
	r := &c.Rights
	became, err := become(c, log)
	if err != nil {
		return false, fmt.Errorf("rights.user: %w", err)
	}
	for _, dir := range writtenDirectories(c) {
		_ = os.MkdirAll(dir, 0o755) // whoever needs it says what is missing
	}
	if became || r.Sandbox {
		if err := sandbox.Keep(keptCapabilities...); err != nil {
			return false, fmt.Errorf("rights: %w", err)
		}
	}
	if left.succeeds() && left.Confined {
		return true, nil // the kernel counts how often
	}
	if !r.Sandbox {
		return false, nil
	}
	err = sandbox.Confine(reach(c, file, command))
	if errors.Is(err, sandbox.ErrNoLandlock) {
		log.Warn(err.Error())
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("rights.sandbox: %w", err)
	}
	return true, nil
}

// become makes root the user that is wanted.
func become(c *config.Config, log *slog.Logger) (became bool, err error) {
	gid, err := admin.GroupID(c.Admin.Group)
	if err != nil {
		gid = -1 // whoever opens the socket says it
	}
	name := c.Rights.User
	if name == "" {
		if gid >= 0 && c.Rights.Sandbox && os.Geteuid() == 0 {
			_ = sandbox.Join(gid) // else the socket cannot be given to it, which is said then
		}
		return false, nil
	}
	wanted, err := sandbox.Lookup(name)
	if err != nil {
		return false, err
	}
	switch uid := os.Geteuid(); {
	case uid == wanted.UID:
		return false, nil
	case uid != 0:
		log.Warn("only root can become another user", "rights.user", name, "uid", uid)
		return false, nil
	}
	if gid >= 0 {
		wanted.Join(gid)
	}
	_, written := c.Files()
	if err := wanted.Own(writtenDirectories(c), written); err != nil {
		return false, err
	}
	return true, sandbox.Become(wanted)
}

// writtenDirectories are those in which Tandem makes files.
func writtenDirectories(c *config.Config) []string {
	_, written := c.Files()
	dirs := []string{stateDirectory}
	if c.Admin.Socket != "" {
		written = append(written, c.Admin.Socket)
	}
	for _, file := range written {
		dirs = append(dirs, filepath.Dir(file))
	}
	return dirs
}

// systemPaths are files of the system that are read at any time: names, users,
// certificates, times; settings of the kernel and what it tells; what a program
// needs to start.
var systemPaths = []string{
	"/etc", "/proc", "/sys", "/usr/lib", "/lib", "/lib64", "/dev/urandom",
	"/usr/share/zoneinfo", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// reach is which files Tandem needs.
func reach(c *config.Config, file string, command []string) sandbox.Paths {
	read, _ := c.Files()
	p := sandbox.Paths{
		Read:  append(systemPaths[:len(systemPaths):len(systemPaths)], c.Rights.Read...),
		Write: append(writtenDirectories(c), "/dev/null", "/proc/sys/net"),
	}
	p.Write = append(p.Write, c.Rights.Write...)
	// Files are replaced by others of the same name: the directory counts. That
	// of a program is where the next one will be.
	read = append(read, command[0], "/etc/resolv.conf")
	if file != "" {
		read = append(read, file)
	}
	for _, name := range read {
		p.Read = append(p.Read, directoryOf(name))
		if target, err := filepath.EvalSymlinks(name); err == nil {
			p.Read = append(p.Read, directoryOf(target))
		}
	}
	if dir, err := bpf.Cgroups(); err == nil {
		p.Write = append(p.Write, dir)
	}
	return p
}

// directoryOf is the directory of a file, or the file where that would be all
// there is.
func directoryOf(file string) string {
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	if dir := filepath.Dir(file); dir != "/" {
		return dir
	}
	return file
}
