// SPDX-License-Identifier: Apache-2.0

// Command armon is the SOCKS5 server that comes with
// github.com/armon/go-socks5, on a TCP or an MPTCP listener.
package main

import (
	"context"
	"flag"
	"log"
	"net"

	socks5 "github.com/armon/go-socks5"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:1080", "`address` to listen on")
	mptcp := flag.Bool("mptcp", false, "listen with MPTCP")
	flag.Parse()
	// Go's resolver and dialer are the library's defaults; its dialer does not
	// use MPTCP unless told to.
	server, err := socks5.New(&socks5.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(*mptcp)
	l, err := lc.Listen(context.Background(), "tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(l))
}
