// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

var errNoCgroup2 = errors.New("no cgroup2 file system that shows this process' cgroup is mounted")

// presentCgroup is the directory of the cgroup2 that this process is in.
// Where version 1 is in use beside it, its mount may be anywhere.
func presentCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	membership, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	return findCgroup(string(mounts), string(membership))
}

// findCgroup takes the text of /proc/self/mountinfo (proc_pid_mountinfo(5))
// and of /proc/self/cgroup (cgroups(7)).
func findCgroup(mounts, membership string) (string, error) {
	cgroup, ok := unifiedPath(membership)
	if !ok {
		return "", fmt.Errorf("%w: the kernel has none", errNoCgroup2)
	}
	for line := range strings.Lines(mounts) {
		root, point, ok := cgroup2Mount(line)
		if !ok {
			continue
		}
		// A container may be shown a part of the tree only.
		if below, ok := relative(root, cgroup); ok {
			return path.Join(point, below), nil
		}
	}
	return "", fmt.Errorf("%w: it is in %s", errNoCgroup2, cgroup)
}

// unifiedPath is the path in the line of version 2: "0::/path".
func unifiedPath(membership string) (string, bool) {
	for line := range strings.Lines(membership) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return p, true
		}
	}
	return "", false
}

// cgroup2Mount reads one line of mountinfo: the directory of the file system
// that is mounted, and where.
func cgroup2Mount(line string) (root, point string, ok bool) {
	// 30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw
	const rootField, pointField = 3, 4
	mount, system, found := strings.Cut(line, " - ")
	fields := strings.Fields(mount)
	if !found || len(fields) <= pointField || !strings.HasPrefix(system, "cgroup2 ") {
		return "", "", false
	}
	return unescape(fields[rootField]), unescape(fields[pointField]), true
}

// unescape undoes the octal escapes of blanks and backslashes in mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// relative is p seen from root, if it is root or below it.
func relative(root, p string) (string, bool) {
	if root == "/" {
		root = ""
	}
	below, ok := strings.CutPrefix(p, root)
	// "/.." leads out of the part that a cgroup namespace shows.
	if !ok || below != "" && below[0] != '/' || strings.HasPrefix(below, "/..") {
		return "", false
	}
	return below, true
}
