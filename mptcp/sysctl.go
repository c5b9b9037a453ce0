// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl is a setting of MPTCP in the network namespace of the calling thread:
// a name below net.mptcp of Documentation/networking/mptcp-sysctl.rst in the
// Linux tree.
type Sysctl string

// Settings that matter to path managers. The kernel reads most of them when a
// socket is created.
const (
	SysctlEnabled          Sysctl = "enabled"                      // 1: MPTCP sockets can be created
	SysctlCloseTimeout     Sysctl = "close_timeout"                // seconds a connection without subflows is kept
	SysctlAddAddrTimeout   Sysctl = "add_addr_timeout"             // seconds until ADD_ADDR is repeated, at most
	SysctlAllowJoinInitial Sysctl = "allow_join_initial_addr_port" // 0: peers join announced addresses only
	SysctlStaleLossCount   Sysctl = "stale_loss_cnt"               // timeouts without a word until a subflow is passed over; 0: it is not
	SysctlBlackholeTimeout Sysctl = "blackhole_timeout"            // seconds without MPTCP after a suspected blackhole; Linux 6.12
	SysctlPathManager      Sysctl = "path_manager"                 // since Linux 6.15; see PathManager
	sysctlPMType           Sysctl = "pm_type"                      // since Linux 5.19
)

func (s Sysctl) path() (string, error) {
	if s == "" || strings.ContainsAny(string(s), "/.") {
		return "", fmt.Errorf("no name below net.mptcp: %q", string(s))
	}
	return filepath.Join("/proc/sys/net/mptcp", string(s)), nil
}

// Read returns the value. The error is os.ErrNotExist if the kernel does not
// have the setting.
func (s Sysctl) Read() (string, error) {
	path, err := s.path()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("sysctl net.mptcp.%s: %w", string(s), err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Set changes the value until restore puts the old one back, in the same
// network namespace, wherever it is called from. Once restored, further calls
// do nothing. A value that somebody else has set in between is left alone. A
// process that is killed restores nothing.
func (s Sysctl) Set(value string) (restore func() error, err error) {
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("set sysctl net.mptcp.%s to %q: %w", string(s), value, err)
		}
	}()
	// The open file stays tied to the namespace that it was opened in.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	before, err := readAt(f)
	if err == nil {
		_, err = f.WriteAt([]byte(value), 0)
	}
	var now string
	if err == nil {
		now, err = readAt(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	restored := false
	return func() error {
		if restored {
			return nil
		}
		restored = true
		defer f.Close()
		current, err := readAt(f)
		if err == nil && current == now && now != before {
			_, err = f.WriteAt([]byte(before), 0)
		}
		if err != nil {
			return fmt.Errorf("restore sysctl net.mptcp.%s to %q: %w", string(s), before, err)
		}
		return nil
	}, nil
}

func readAt(f *os.File) (string, error) {
	b := make([]byte, 256)
	n, err := f.ReadAt(b, 0)
	if n == 0 && err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// The path managers of a network namespace.
const (
	PathManagerKernel    = "kernel"
	PathManagerUserspace = "userspace"
)

// pathManagerTypes are the values of pm_type.
var pathManagerTypes = map[string]string{"0": PathManagerKernel, "1": PathManagerUserspace}

// PathManager returns which path manager connections get that are created now
// in the network namespace of the calling thread: PathManagerKernel,
// PathManagerUserspace, or another that the kernel has.
func PathManager() (string, error) {
	name, err := SysctlPathManager.Read()
	if !errors.Is(err, os.ErrNotExist) {
		return name, err
	}
	kind, err := sysctlPMType.Read()
	if errors.Is(err, os.ErrNotExist) {
		return PathManagerKernel, Supported() // before Linux 5.19 there is no other
	}
	if err != nil {
		return "", err
	}
	if name, ok := pathManagerTypes[kind]; ok {
		return name, nil
	}
	return kind, nil
}

// SetPathManager chooses the path manager for connections that are created from
// now on in the network namespace of the calling thread. See Sysctl.Set about
// restore.
func SetPathManager(name string) (restore func() error, err error) {
	restore, err = SysctlPathManager.Set(name)
	if !errors.Is(err, os.ErrNotExist) {
		return restore, err
	}
	for kind, known := range pathManagerTypes {
		if name == known {
			return sysctlPMType.Set(kind)
		}
	}
	return nil, fmt.Errorf("unknown path manager %q: want %s or %s", name, PathManagerKernel, PathManagerUserspace)
}
