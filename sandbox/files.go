// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// ErrNoLandlock is a kernel that cannot keep a process from files: older than
// 5.13, or with Landlock left out or off.
var ErrNoLandlock = errors.New("this kernel has no Landlock, and everything that the user of the process may read or write can be")

// Paths are directories, or files, with all that is below them. Those that are
// not there, or cannot be looked at, are left out.
type Paths struct {
	// Read: read, and start as a program.
	Read []string
	// Write: read, write, make and remove.
	Write []string
}

// Confine keeps the process and those that it starts from all files but some,
// as far as the kernel can. Descriptors that are open stay open. It can be called
// 16 times, by the process and those that it was started by together.
func Confine(p Paths) error {
	if !Supported() {
		return ErrNoLandlock
	}
	var rules []landlock.Rule
	for _, list := range []struct {
		paths     []string
		directory func(...string) landlock.FSRule
		file      func(...string) landlock.FSRule
	}{{p.Read, landlock.RODirs, landlock.ROFiles}, {p.Write, landlock.RWDirs, landlock.RWFiles}} {
		for _, path := range list.paths {
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			rule := list.file
			if info.IsDir() {
				rule = list.directory
			}
			rules = append(rules, rule(filepath.Clean(path)).IgnoreIfMissing())
		}
	}
	if err := landlock.V7.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// Supported reports whether the kernel has Landlock.
func Supported() bool {
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	return errno == 0 && abi > 0
}
