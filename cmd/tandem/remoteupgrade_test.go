// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestUpgradeKeepsOperators asks over TCP all the time while the process is
// replaced, at a port that the kernel has chosen. The successor's configuration has
// one more address.
func TestUpgradeKeepsOperators(t *testing.T) {
	t.Parallel()
	l := newLocal(t, "")
	configure := func(listen string) {
		t.Helper()
		config := "admin: {socket: " + l.socket + ", listen: [" + listen + "]}\n" + phones
		if err := os.WriteFile(l.file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure(`"127.0.0.1:0"`)
	l.start()
	at := regexp.MustCompile(`http://\S+`).FindString(l.banner.String())
	other := freeAddress(t)
	configure(`"127.0.0.1:0", "` + other + `"`)
	stop, asked := make(chan struct{}), 0
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := askLive(at); err != nil {
				t.Errorf("after %d answers: %v", asked, err)
				return
			}
			asked++
		}
	})
	client := admin.NewClient(l.socket)
	defer client.Close()
	endSuccessor(t, client)
	old := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	first, before := l.status().PID, l.connections()[0].ID
	if _, err := client.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "the successor to serve", func() bool {
		s, err := client.Status(t.Context())
		return err == nil && s.PID != first
	})
	// What operators know by an ID is not another connection now.
	c := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	if now := l.connections(); len(now) != 1 || now[0].ID <= before {
		t.Errorf("after connection %d there are %+v", before, now)
	}
	l.mustNot([]string{"there is no connection"}, "kick", fmt.Sprint(before))
	exchange(t, c)
	old.Close()
	labtest.Await(t, patience, "the predecessor to end", func() bool { return syscall.Kill(first, 0) != nil })
	if err := askLive(at); err != nil {
		t.Errorf("when the predecessor has gone: %v", err)
	}
	labtest.Await(t, patience, "the further address to answer", func() bool { return askLive("http://"+other+"/") == nil })
	close(stop)
	asking.Wait()
	if asked == 0 {
		t.Error("nothing was answered")
	}
}

// askLive asks over a connection of its own.
func askLive(at string) error {
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Get(at + "livez")
	if err == nil {
		answer.Body.Close()
	}
	return err
}

// freeAddress is one of loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestInheritedSocketsAreCovered: a socket that a predecessor served over TLS is not
// served without by one whose configuration has none any more.
func TestInheritedSocketsAreCovered(t *testing.T) {
	t.Parallel()
	everywhere := netip.MustParseAddrPort("0.0.0.0:9443")
	r := remote{wanted: []netip.AddrPort{everywhere}}
	err := r.bind(&estate{Remote: []tcpSocket{{Address: everywhere, FD: -1}}})
	if !errors.Is(err, admin.ErrUnprotected) || len(r.listeners) > 0 {
		t.Errorf("%v, %d listeners", err, len(r.listeners))
	}
}
