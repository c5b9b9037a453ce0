// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// pathPatience bounds every wait for a tandem or the kernel.
const pathPatience = 30 * time.Second

// operatorAt is a client for the socket of a tandem that runs as a user, and
// what its configuration says of it.
func operatorAt(t *testing.T, uid int) (*admin.Client, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tandem-") // short, as paths of sockets have to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	client := admin.NewClient(socket)
	t.Cleanup(client.Close)
	return client, "admin: {socket: " + socket + "}\n"
}

// trickle has the client of two paths download slowly until the end of the
// test.
func trickle(t *testing.T, tp *lab.TwoPath) {
	t.Helper()
	server := netip.AddrPortFrom(tp.ServerAddr.V4, 80)
	web := labtest.Nginx(t, tp.Server, fileSize, server)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It is cut off in the middle.
		_, _ = apps.Curl(ctx, tp.Client, "--limit-rate", "100k", "--proxy", "socks5h://127.0.0.1:1080", web.URL(server))
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// awaitPaths waits for a connection that is as wanted.
func awaitPaths(t *testing.T, c *admin.Client, what string, wanted func(*admin.Paths) bool) admin.Paths {
	t.Helper()
	var found admin.Paths
	labtest.Await(t, pathPatience, what, func() bool {
		list, err := c.Paths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list.Connections, func(p admin.Paths) bool { return wanted(&p) })
		if i >= 0 {
			found = list.Connections[i]
		}
		return i >= 0
	})
	return found
}

// watch follows what happens to subflows until the end of the test; what it
// returns is the cause of the next end of one.
func watch(t *testing.T, c *admin.Client) (closed func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	begun, ended, causes := make(chan struct{}), make(chan struct{}), make(chan string, 100)
	go func() {
		defer close(ended)
		err := c.PathEvents(ctx, func() { close(begun) }, func(e *admin.PathEvent) error {
			if e.Event == "closed" {
				causes <- e.Subflow.Closed
			}
			return nil
		})
		if ctx.Err() == nil {
			t.Errorf("events: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-begun
	return func() string {
		select {
		case cause := <-causes:
			return cause
		case <-time.After(pathPatience):
			t.Fatal("no subflow has ended")
			return ""
		}
	}
}

func twoSubflows(p *admin.Paths) bool {
	return len(p.Subflows) == 2 && p.Subflows[0].Received+p.Subflows[0].Sent > 0 && p.Subflows[1].State == "established"
}

// TestPathsOfKernel lists the subflows that the kernel's path manager has
// opened, on both sides, and why they ended.
func TestPathsOfKernel(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	far, farConfig := operatorAt(t, 0)
	near, nearConfig := operatorAt(t, 0)
	runTandem(t, tp.Aggregator, farConfig+socksServer)
	runTandem(t, tp.Client, nearConfig+socksClient)
	trickle(t, tp)
	if p := awaitPaths(t, far, "two subflows at the aggregator", twoSubflows); p.Initiator || p.Manager != "kernel" || !p.Subflows[0].Passive {
		t.Errorf("%+v", p)
	}
	p := awaitPaths(t, near, "two subflows at the client", twoSubflows)
	if !p.Initiator || p.Manager != "kernel" {
		t.Errorf("%+v", p)
	}
	for _, s := range p.Subflows {
		if s.Interface != "wifi" && s.Interface != "cell" || s.RTT <= 0 || s.Opened == "" {
			t.Errorf("subflow %+v", s)
		}
	}
	if len(p.Past) != 0 {
		t.Errorf("past %+v", p.Past)
	}
	watching := watch(t, near)
	cell := p.Subflows[slices.IndexFunc(p.Subflows, func(s admin.Subflow) bool { return s.Interface == "cell" })]
	awaitPaths(t, near, "both to be watched", func(p *admin.Paths) bool { return twoSubflows(p) && p.Subflows[1].Since != nil })
	labtest.Start(t, tp.Client, "ss", "-K", "src", cell.Local.String()).Wait()
	if cause := watching(); cause != "reset sent" {
		t.Errorf("ended by %q", cause)
	}
	p = awaitPaths(t, near, "the end of one", func(p *admin.Paths) bool { return len(p.Past) == 1 })
	if past := p.Past[0]; past.Local != cell.Local || past.Closed == "" {
		t.Errorf("ended %+v", past)
	}
	status, err := near.Status(t.Context())
	if err != nil || status.Paths == nil || status.Paths.Managed || status.Paths.Connections != 1 || status.Paths.Opened["first"] == 0 {
		t.Fatalf("%+v, %v", status.Paths, err)
	}
	var text strings.Builder
	if err := printStatus(&text, &status, time.Now()); err != nil || !strings.Contains(text.String(), "the kernel's path manager, 1 connections") {
		t.Errorf("printed %s, %v", &text, err)
	}
}

// TestPathsWithoutRights lists what there is, though nobody may watch it.
func TestPathsWithoutRights(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	const nobody = 65534
	operator, config := operatorAt(t, nobody)
	unprivileged, err := apps.StartTandem(context.Background(), tp.Aggregator, asNobody(t, config+socksServer))
	if err != nil {
		t.Fatal(err)
	}
	endWithTest(t, tp.Aggregator, unprivileged)
	runTandem(t, tp.Client, socksClient)
	trickle(t, tp)
	p := awaitPaths(t, operator, "two subflows", twoSubflows)
	if p.Initiator || p.Manager != "kernel" || p.Subflows[0].Interface == "" || p.Subflows[0].RTT <= 0 || p.Begun.IsZero() {
		t.Errorf("%+v", p)
	}
	if p.Subflows[0].Opened != "first" || !p.Subflows[0].Passive || p.Subflows[1].Opened != "found" || p.Subflows[1].Since != nil {
		t.Errorf("%+v", p.Subflows)
	}
	var text strings.Builder
	if err := printPaths(&text, []admin.Paths{p}, time.Now()); err != nil || !strings.Contains(text.String(), "path manager kernel") {
		t.Errorf("printed %s, %v", &text, err)
	}
	if err := operator.PathEvents(t.Context(), func() {}, func(*admin.PathEvent) error { return nil }); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("events: %v", err)
	}
	if s, err := operator.Status(t.Context()); err != nil || s.Paths != nil {
		t.Errorf("%+v, %v", s.Paths, err)
	}
}
