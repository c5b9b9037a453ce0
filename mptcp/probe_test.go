// SPDX-License-Identifier: Apache-2.0

package mptcp

//go:generate go test . -run "^TestOptionTable$" -update

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the table in docs/mptcp-sockets.md as this kernel answers")

// The table in the documentation is from this kernel series.
const documentedKernel = "6.18."

// TestOptionTable: the documentation says what the kernel does.
func TestOptionTable(t *testing.T) {
	needMPTCP(t)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	if release := unix.ByteSliceToString(name.Release[:]); !strings.HasPrefix(release, documentedKernel) {
		t.Skipf("the table is about Linux %s*, this is %s", documentedKernel, release)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: some options are privileged")
	}
	results, err := ProbeSocketOptions()
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := WriteOptionTable(&table, results); err != nil {
		t.Fatal(err)
	}
	const (
		page  = "../docs/mptcp-sockets.md"
		begin = "<!-- table: go generate ./mptcp -->\n"
		end   = "<!-- end of table -->\n"
	)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	committed, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(committed, table.String()); diff != "" {
		t.Errorf("%s is not what this kernel does; go generate ./mptcp mends it:\n%s", page, diff)
	}
}

// The options of SocketOptions are among those that the kernel takes.
func TestProbeAgreesWithSocketOptions(t *testing.T) {
	needMPTCP(t)
	results, err := ProbeSocketOptions()
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]error{}
	for _, r := range results {
		taken[r.Name] = r.Set
	}
	for _, name := range []string{"SO_REUSEPORT", "SO_BINDTODEVICE", "IPV6_V6ONLY", "TCP_NODELAY", "TCP_KEEPIDLE",
		"TCP_CONGESTION", "TCP_NOTSENT_LOWAT", "SO_SNDBUF", "SO_RCVBUF", "IP_FREEBIND", "IPV6_FREEBIND"} {
		if err, probed := taken[name]; !probed || err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProbeWithoutMPTCP(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	sysctl(t, "mptcp/enabled", "0")
	if _, err := ProbeSocketOptions(); !errors.Is(err, ErrDisabled) {
		t.Errorf("got %v", err)
	}
}
