// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Version is that of what is installed; empty if there is none, or nothing is.
func (p *Peer) Version(ctx context.Context) string {
	if p.version == nil {
		return ""
	}
	return p.version(ctx)
}

// debian is the version of a Debian package.
func debian(pkg string) func(context.Context) string {
	return func(ctx context.Context) string {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", pkg).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
}

// module is the version of a module within a program that was built.
func (t Tools) module(program, path string) func(context.Context) string {
	return func(context.Context) string {
		info, err := buildinfo.ReadFile(filepath.Join(t.Dir, program))
		if err != nil {
			return ""
		}
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == path {
				return m.Version
			}
		}
		return ""
	}
}

func goVersion(context.Context) string { return runtime.Version() }
