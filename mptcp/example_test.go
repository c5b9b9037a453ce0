// SPDX-License-Identifier: Apache-2.0

package mptcp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// A client and a server that speak MPTCP where the kernel has it, and TCP
// elsewhere.
func Example() {
	ln, err := mptcp.NewListener(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Mode: mptcp.ModePrefer})
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()

	d := mptcp.Dialer{
		ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModePrefer},
		Timeout:        5 * time.Second,
	}
	client, err := d.DialContext(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	server, err := ln.AcceptTCP()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	status, err := mptcp.StatusOf(server)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("both ends agree:", status.MPTCP == client.Status.MPTCP)
	if !status.MPTCP {
		log.Print("not MPTCP: ", client.Status.Reason)
	}

	io.WriteString(client, "hello")
	client.Close()
	heard, err := io.ReadAll(server)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", heard)
	// Output:
	// both ends agree: true
	// hello
}
