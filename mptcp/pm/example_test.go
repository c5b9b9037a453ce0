// SPDX-License-Identifier: Apache-2.0

package pm_test

import (
	"context"
	"errors"
	"log"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// A path manager that gives every connection that this host opens a second
// subflow, and opens it again when it is lost. A real one would wait longer
// each time.
func Example() {
	restore, err := mptcp.SetPathManager(mptcp.PathManagerUserspace)
	if err != nil {
		log.Fatal(err)
	}
	defer restore()
	client, err := pm.Dial(pm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	events, err := pm.Subscribe(pm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer events.Close()

	second := pm.Endpoint{ID: 1, Addr: netip.MustParseAddr("198.51.100.130")}
	open := func(token uint32, remote netip.AddrPort) {
		err := client.CreateSubflow(token, second, remote)
		if err != nil && !errors.Is(err, pm.ErrGone) {
			log.Print(err)
		}
	}
	for event, err := range events.All(context.Background()) {
		if err != nil {
			log.Print(err)
			return
		}
		switch e := event.(type) {
		case pm.Established:
			if !e.ServerSide {
				open(e.Token, e.Remote)
			}
		case pm.SubflowClosed:
			if e.Local.Addr() == second.Addr && (e.Err == unix.ECONNRESET || e.Err == unix.ETIMEDOUT) {
				open(e.Token, e.Remote)
			}
		case pm.Gap:
			log.Print("events lost: ask the kernel for the subflows of all connections")
		}
	}
}
