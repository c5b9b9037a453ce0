// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func wantSysctl(t *testing.T, s Sysctl, want string) {
	t.Helper()
	if got, err := s.Read(); err != nil || got != want {
		t.Errorf("net.mptcp.%s is %q, %v; want %q", s, got, err, want)
	}
}

func TestSysctl(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	wantSysctl(t, SysctlCloseTimeout, "60")
	restore, err := SysctlCloseTimeout.Set("600")
	if err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, SysctlCloseTimeout, "600")
	// From another thread, in another namespace.
	elsewhere := make(chan error)
	go func() { elsewhere <- restore() }()
	if err := <-elsewhere; err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, SysctlCloseTimeout, "60")

	if restore, err = SysctlCloseTimeout.Set("601"); err != nil {
		t.Fatal(err)
	}
	sysctl(t, "mptcp/close_timeout", "7")
	for range 2 {
		if err := restore(); err != nil {
			t.Error(err)
		}
		wantSysctl(t, SysctlCloseTimeout, "7") // what somebody else has set
	}
}

func TestSysctlErrors(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	if _, err := SysctlCloseTimeout.Set("soon"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("not a number: %v", err)
	}
	if _, err := Sysctl("none").Set("1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := Sysctl("none").Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown: %v", err)
	}
	for _, s := range []Sysctl{"", "../ipv4/ip_forward", ".."} {
		if _, err := s.Read(); err == nil {
			t.Errorf("read %q", s)
		}
		if _, err := s.Set("1"); err == nil {
			t.Errorf("set %q", s)
		}
	}
}

func TestPathManager(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	want := func(name string) {
		t.Helper()
		if got, err := PathManager(); err != nil || got != name {
			t.Errorf("path manager %q, %v; want %q", got, err, name)
		}
	}
	want(PathManagerKernel)
	restore, err := SetPathManager(PathManagerUserspace)
	if err != nil {
		t.Fatal(err)
	}
	want(PathManagerUserspace)
	wantSysctl(t, sysctlPMType, "1")
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	want(PathManagerKernel)
	if _, err := SetPathManager("none"); err == nil {
		t.Error("unknown path manager set")
	}
}
