// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is where and of what a report was made.
type Machine struct {
	Time       time.Time `json:"time"`
	Kernel     string    `json:"kernel"`
	CPU        string    `json:"cpu"`
	CPUs       int       `json:"cpus"`
	Go         string    `json:"go"`
	Commit     string    `json:"commit"`
	Congestion string    `json:"congestion_control"`
}

const unknown = "unknown"

// ThisMachine describes this machine and the commit of the working directory.
func ThisMachine(ctx context.Context) Machine {
	m := Machine{
		Time: time.Now().Round(time.Second), Kernel: unknown, CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Commit: unknown,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
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
