// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// fullMesh has the CPE's subflows managed by tandem instead of the kernel.
var fullMesh = strings.Replace(cpe, "    type: convert\n", "    type: convert\n    paths: {manager: fullmesh, interfaces: [dsl, lte]}\n", 1)

// TestPathManager uses both links of a home though the kernel has no endpoints
// for that, and both again after each of them was down.
func TestPathManager(t *testing.T) {
	h := &home{HybridHome: labtest.HybridHome(t, equalHome)}
	h.v4 = netip.AddrPortFrom(h.ServerAddr.V4, 80)
	h.web = labtest.Nginx(t, h.Server, 2*fileSize, h.v4)
	labtest.Start(t, h.CPE, "ip", "mptcp", "endpoint", "flush").Wait()
	h.aggregator = runTandem(t, h.Aggregator, aggregator)
	dir, err := os.MkdirTemp("", "tandem-") // short, as paths of sockets have to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	h.cpe = runTandem(t, h.CPE, "admin: {socket: "+socket+"}\n"+fullMesh)
	before := counters(t, h.links()...)
	done := h.download(t)
	awaitBytes(t, h, before, fileSize/8)
	checkPaths(t, socket)
	for _, link := range []*lab.Link{h.LTE.Link, h.DSL.Link} {
		if err := link.Down(); err != nil {
			t.Fatal(err)
		}
		other := h.links()[0]
		if link == other {
			other = h.links()[1]
		}
		awaitLink(t, other, fileSize/16)
		if err := link.Up(); err != nil {
			t.Fatal(err)
		}
		awaitLink(t, link, fileSize/32)
	}
	checkFetched(t, h.web, <-done)
}

// TestPathManagerKilled puts back what a killed tandem has changed.
func TestPathManagerKilled(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	check := func(manager, timeout string) {
		t.Helper()
		err := tp.Client.Do(func() error {
			m, err := mptcp.PathManager()
			c, err2 := mptcp.SysctlCloseTimeout.Read()
			if m != manager || c != timeout {
				t.Errorf("path manager %s and close_timeout %s, want %s and %s", m, c, manager, timeout)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const meshed = "listeners:\n  - {name: apps, type: socks5, listen: ['127.0.0.1:1080'], paths: {manager: fullmesh, keep: 100s}}\n"
	check(mptcp.PathManagerKernel, "60")
	killed := startTandem(t, tp.Client, meshed)
	check(mptcp.PathManagerUserspace, "110")
	cgroup := cgroupOf(t, killed)
	runs := bannerLine(t, killed, "eBPF") == "yes"
	if runs && !attached(t, cgroup) {
		t.Errorf("no program is attached to %s while tandem runs", cgroup)
	}
	if err := killed.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-killed.Done()
	if runs {
		labtest.Await(t, patience, "programs to be detached", func() bool { return !attached(t, cgroup) })
	}
	runTandem(t, tp.Client, strings.Replace(meshed, "fullmesh, keep: 100s", "kernel", 1))
	check(mptcp.PathManagerKernel, "60")
	if _, err := os.Stat(cgroup); runs && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cgroup of the killed tandem: %v", err)
	}
}

// cgroupOf is the directory of the cgroup in which a tandem runs.
func cgroupOf(t *testing.T, tandem *apps.Tandem) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", tandem.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			return cgroupMount(t) + path
		}
	}
	t.Skip("no cgroup2")
	return ""
}

// cgroupMount is where the unified hierarchy is.
func cgroupMount(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("no cgroup2")
	return ""
}

// attached reports whether a sock_ops program is attached to a cgroup.
func attached(t *testing.T, cgroup string) bool {
	t.Helper()
	return len(attachedPrograms(t, cgroup)) > 0
}

// attachedPrograms are the sock_ops programs of a cgroup.
func attachedPrograms(t *testing.T, cgroup string) (ids []ebpf.ProgramID) {
	t.Helper()
	f, err := os.Open(cgroup)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := link.QueryPrograms(link.QueryOptions{Target: int(f.Fd()), Attach: ebpf.AttachCGroupSockOps})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Programs {
		ids = append(ids, p.ID)
	}
	return ids
}

// checkPaths looks at what operators get to see.
func checkPaths(t *testing.T, socket string) {
	t.Helper()
	client := admin.NewClient(socket)
	defer client.Close()
	list, err := client.Paths(t.Context())
	if err != nil || len(list.Connections) == 0 {
		t.Fatalf("paths: %+v, %v", list, err)
	}
	var busy *admin.Paths
	for i, c := range list.Connections {
		if len(c.Subflows) > 1 {
			busy = &list.Connections[i]
		}
	}
	if busy == nil || busy.Manager != "fullmesh" || !busy.Initiator {
		t.Fatalf("no connection with two subflows: %+v", list)
	}
	for _, s := range busy.Subflows {
		if s.State != "established" || s.Received == 0 || s.Interface != "dsl" && s.Interface != "lte" {
			t.Errorf("subflow %+v", s)
		}
	}
	var text strings.Builder
	if err := printPaths(&text, list.Connections, time.Now()); err != nil || !strings.Contains(text.String(), "path manager fullmesh") {
		t.Errorf("printed %q, %v", &text, err)
	}
}

// awaitLink waits until a link has carried more bytes to the home.
func awaitLink(t *testing.T, link *lab.Link, more uint64) {
	t.Helper()
	before := counters(t, link)[0]
	labtest.Await(t, 30*time.Second, link.A.Dev+" to carry bytes", func() bool {
		return counters(t, link)[0]-before >= more
	})
}
