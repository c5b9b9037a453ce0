// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestUnavailable looks at what is said where the programs cannot run.
func TestUnavailable(t *testing.T) {
	needPrograms(t)
	for _, tt := range []struct {
		role string
		attr *syscall.SysProcAttr
		want string
	}{
		{"unprivileged", nil, "CAP_BPF"},
		{"without-cgroup2", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, "cgroup2"},
	} {
		t.Run(tt.role, func(t *testing.T) {
			_, _, lines := child(t, tt.role, tt.attr)
			if got := line(t, lines); got != "unavailable: true" {
				t.Error(got)
			}
			text := line(t, lines)
			for _, want := range []string{"tandem_synack", "Linux " + kernelRelease(), synackLost, tt.want} {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("%q has more than one line", text)
			}
		})
	}
}

// TestSomeMissing: what can run does.
func TestSomeMissing(t *testing.T) {
	needPrograms(t)
	_, _, lines := child(t, "without-btf", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	for _, want := range []string{"SYN-ACKs: true", "events: false", "unavailable: true"} {
		if got := line(t, lines); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	text := line(t, lines)
	for _, want := range []string{"tandem_events", eventsLost, "BTF"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// TestFewCapabilities starts in a cgroup as a service manager hands it over.
func TestFewCapabilities(t *testing.T) {
	needPrograms(t)
	present, err := presentCgroup()
	if err != nil {
		t.Fatal(err)
	}
	delegated, err := os.MkdirTemp(present, "delegated-")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(delegated)
	if err != nil {
		t.Fatal(err)
	}
	// After the child, which is ended by what is registered later.
	t.Cleanup(func() {
		dir.Close()
		if err := os.Remove(delegated); err != nil {
			t.Error(err)
		}
	})
	_, _, lines := child(t, "few-capabilities", &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())})
	if got := line(t, lines); got != "unavailable: false" {
		t.Error(got)
	}
	if got := line(t, lines); got != "<nil>" {
		t.Error(got)
	}
}

// TestRefusalIsKept: whoever debugs wants the verifier's whole log.
func TestRefusalIsKept(t *testing.T) {
	needPrograms(t)
	_, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "refused", Type: ebpf.SockOps, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 9999, asm.Word), asm.Return()},
	})
	err = unavailable("load", "refused", "nothing", err)
	var refusal *ebpf.VerifierError
	if !errors.As(err, &refusal) || len(refusal.Log) == 0 || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if !strings.Contains(err.Error(), "off=9999") {
		t.Errorf("%q does not say what the verifier found", err)
	}
}
