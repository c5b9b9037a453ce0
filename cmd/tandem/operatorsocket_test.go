// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestTwoOfOneSocket(t *testing.T) {
	t.Parallel()
	first := startLocal(t, phones)
	second := newLocal(t, "")
	second.socket = first.socket
	second.write(phones)
	second.start()
	said := func() int { return strings.Count(second.log.String(), "operators cannot reach this tandem") }
	labtest.Await(t, patience, "a word on that", func() bool { return said() > 0 })
	if n := said(); n != 1 || !strings.Contains(second.log.String(), "another process answers there") {
		t.Errorf("said %d times:\n%s", n, second.log)
	}
	if !strings.Contains(second.banner.String(), "operators      no: "+first.socket+": another process answers there") {
		t.Errorf("the banner:\n%s", second.banner)
	}
	second.answeredBy(first)
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	second.awaitEnd()
	first.answeredBy(first)
}

func TestSocketOfAKilledOne(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-l.ended
	if _, err := os.Lstat(l.socket); err != nil {
		t.Fatalf("the socket went with its process: %v", err)
	}
	l.mustNot([]string{"is tandem running?"}, "status")
	l.start()
	l.answeredBy(l)
}

// Descriptors and goroutines that requests take are given back.
func TestRequestsLeaveNothing(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	l.status()
	before := descriptors()
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 50 {
				client := admin.NewClient(l.socket)
				if _, err := client.Status(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := client.Connections(t.Context(), admin.Filter{}, func(*admin.Connection) error { return nil }); err != nil {
					t.Error(err)
				}
				client.Close()
			}
		})
	}
	asking.Wait()
	labtest.Await(t, patience, "descriptors to be given back", func() bool { return descriptors() <= before })
}

// asNobody makes the commands of a tandem those of a user without rights.
func (l *local) asNobody() {
	l.t.Helper()
	if os.Geteuid() != 0 {
		l.t.Skip("only root can become another user")
	}
	program := filepath.Join(filepath.Dir(l.file), "tandem")
	copyFile(l.t, program, l.program[0])
	l.program = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", program}
}

func TestSocketWithoutRights(t *testing.T) {
	t.Parallel()
	// The directory belongs to root.
	l := newLocal(t, phones)
	l.asNobody()
	l.start()
	if n := strings.Count(l.log.String(), "operators cannot reach this tandem"); n != 1 || !strings.Contains(l.log.String(), "permission denied; admin.socket can name a place") {
		t.Errorf("said %d times:\n%s", n, l.log)
	}
	if !strings.Contains(l.banner.String(), "operators      no: ") {
		t.Errorf("the banner:\n%s", l.banner)
	}
}

func TestStrangersAreKeptOut(t *testing.T) {
	t.Parallel()
	l := newLocal(t, phones)
	stranger := *l
	stranger.asNobody()
	l.start()
	info, err := os.Lstat(l.socket)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	stranger.mustNot([]string{"not allowed to use " + l.socket, "as root, or as a member of the group"}, "status")
	l.must("status")
}

func TestSocketOfAGroup(t *testing.T) {
	t.Parallel()
	l := newLocal(t, "")
	member := *l
	member.asNobody()
	if err := os.WriteFile(l.file, []byte("admin: {socket: "+l.socket+", group: \"65534\"}\n"+phones), 0o644); err != nil {
		t.Fatal(err)
	}
	l.start()
	member.answeredBy(l)
}
