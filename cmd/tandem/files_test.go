// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestOutOfFiles lets the program run out of descriptors: tunnels live on, new
// clients wait, and are served as soon as others have left.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip(err)
	}
	const files, many = 120, 80 // two files for each client are too many, for half of them not
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	echo(t, tp.Server, "203.0.113.80:7")
	c := tandemConfig(t, relayTo7)
	c.Command = append([]string{"prlimit", fmt.Sprintf("--nofile=%d", files)}, c.Command...)
	tandem, err := apps.StartTandem(context.Background(), tp.Aggregator, c)
	if err != nil {
		t.Fatal(err)
	}
	endWithTest(t, tp.Aggregator, tandem)
	r := &relayed{TwoPath: tp, tandem: tandem}
	old := r.tunnel(t, "192.0.2.1:7007")

	var clients []net.Conn
	for range many {
		c, err := r.dial("192.0.2.1:7007")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	const message = "cannot accept for now"
	awaitLog(t, tandem, "level=WARN", message)
	exchange(t, old)
	for _, c := range clients[:many/2] {
		c.Close()
	}
	for _, c := range clients[many/2:] {
		exchange(t, c)
	}
	for _, c := range clients[many/2:] {
		c.Close()
	}
	labtest.Await(t, patience, "all connections but one to end", func() bool {
		return countLogged(tandem, "connection ended") == many
	})
	exchange(t, old)
	r.tunnel(t, "192.0.2.1:7007")
	if n := countLogged(tandem, "level=WARN", message); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	if n := countLogged(tandem, "level=ERROR"); n != 0 {
		t.Errorf("%d errors in the log", n)
	}
}
