// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"fmt"

	"github.com/tandem-gateway/tandem/client"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// A program that wants to stay connected for an hour without data. The converter
// here grants ten minutes.
func ExampleDialer() {
	tandem, err := startTandem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tandem.Close()
	server, stop, err := echo()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	wanted, err := options.ParseSet("inactivity-timeout=1h")
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := client.Dialer{
		Converter: tandem.converter,
		Options:   wanted,
		Connect:   mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModePrefer}},
	}
	c, err := dialer.DialContext(context.Background(), "tcp", server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println("asked for", wanted, "and got", c.Granted)
	// Output: asked for inactivity-timeout=1h and got inactivity-timeout=10m
}
