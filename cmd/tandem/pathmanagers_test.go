// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
	done := make(chan apps.CurlResult, 1)
	go func() {
		r, err := apps.Curl(t.Context(), h.Client, "--max-time", "60", h.web.URL(h.v4))
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
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
	manager := func() (name string) {
		err := tp.Client.Do(func() (err error) {
			name, err = mptcp.PathManager()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	const meshed = "listeners:\n  - {name: apps, type: socks5, listen: ['127.0.0.1:1080'], paths: {manager: fullmesh}}\n"
	killed := startTandem(t, tp.Client, meshed)
	if got := manager(); got != mptcp.PathManagerUserspace {
		t.Errorf("path manager %s while tandem manages", got)
	}
	if err := killed.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-killed.Done()
	runTandem(t, tp.Client, strings.Replace(meshed, "fullmesh", "kernel", 1))
	if got := manager(); got != mptcp.PathManagerKernel {
		t.Errorf("path manager %s after a tandem that leaves it alone", got)
	}
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
	labtest.Await(t, 20*time.Second, link.A.Dev+" to carry bytes", func() bool {
		return counters(t, link)[0]-before >= more
	})
}
