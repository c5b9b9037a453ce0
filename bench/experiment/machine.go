// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is where and of what results were made.
type Machine struct {
	Time   time.Time `json:"time"`
	Kernel string    `json:"kernel"`
	CPU    string    `json:"cpu"`
	CPUs   int       `json:"cpus"`
	Memory int64     `json:"memory"` // bytes
	Go     string    `json:"go"`
	Commit string    `json:"commit"`
	// Congestion is the machine's default congestion control. Experiments say in
	// their set-up which one they use.
	Congestion string `json:"congestion_control"`
}

const unknown = "unknown"

// ThisMachine describes this machine, and the commit that this program was built
// of; if it does not know, that of the working directory.
func ThisMachine(ctx context.Context) Machine {
	m := Machine{
		Time: time.Now().Round(time.Second), Kernel: unknown, CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Commit: unknown, Congestion: unknown,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	if text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		m.Congestion = strings.TrimSpace(string(text))
	}
	if commit := builtOf(); commit != "" {
		m.Commit = commit
	} else if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// builtOf is the commit that the Go tool has noted in this program.
func builtOf() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}

// cpuModel is the name of the first CPU.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}
