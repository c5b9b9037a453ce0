// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestSocketIsHandedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := listen(t, path)
	f, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	second, err := Inherit(path, int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	first.Leave()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestInheritNoSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Inherit(path, int(f.Fd())); !errors.Is(err, ErrNotSocket) {
		t.Errorf("a TCP socket: %v", err)
	}
	if _, err := Inherit(path, -1); err == nil {
		t.Error("no descriptor")
	}
}
