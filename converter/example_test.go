// SPDX-License-Identifier: Apache-2.0

package converter_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/options"
)

// A request and the answer to it, as they travel at the start of the two byte
// streams of a connection.
func Example() {
	now := time.Now()
	dialer := converter.NewDialer(converter.DialerConfig{})
	exchange, err := dialer.Connect(netip.MustParseAddrPort("192.0.2.1:443"), converter.Extras{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The client's first bytes follow the request at once.
	sent := append(exchange.AppendRequest(nil, now), "early data"...)

	server := converter.NewServer(converter.ServerConfig{})
	request, n, err := server.Read(netip.MustParseAddr("198.51.100.7"), sent, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("connect to %s and send %q\n", request.Target, sent[n:])
	received := append(server.Success(nil, &request, nil, options.Set{}), "answer of the server"...)

	_, n, err = exchange.Read(received, now)
	fmt.Printf("connected: %q, %v\n", received[n:], err)
	// Output:
	// connect to 192.0.2.1:443 and send "early data"
	// connected: "answer of the server", <nil>
}
