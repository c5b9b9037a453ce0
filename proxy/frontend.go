// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/redundant"
)

// ErrMore is returned by handshakes and conversations that need more bytes
// before they can go on.
var ErrMore = errors.New("more bytes needed")

// ErrWait is returned by the handshake of a Waiter that has to find something
// out before it can go on.
var ErrWait = errors.New("handshake has to wait")

// Waiter is a Handshake that may return ErrWait. Wait is then called, in a
// goroutine of its own because it may block, until ctx ends at most; and Next
// after it.
type Waiter interface {
	Handshake
	Wait(ctx context.Context)
}

// Client is the accepted end of a session.
type Client struct {
	Remote netip.AddrPort
	FD     int          // to ask the kernel about; not to be read or written
	MPTCP  mptcp.Status // what was negotiated
}

// FrontEnd speaks a protocol with clients.
type FrontEnd interface {
	// Greet begins the handshake with a client that has just been accepted.
	Greet(c *Client, now time.Time) Handshake
}

// Handshake is the conversation with one client until its request is known,
// and the answer to it.
type Handshake interface {
	// Next looks at the bytes that have arrived and were not consumed yet.
	// It returns ErrMore when it needs more of them, and ErrWait: see Waiter.
	// With any other error Step.Send is sent and the connection closed.
	Next(in []byte) (Step, error)
	// Reply appends what the client is told about the outcome of its
	// request. With nothing to say about a failure the connection is reset.
	Reply(dst []byte, o Outcome) []byte
}

// admitter is a Handshake whose client may leave without a request once it is
// admitted: so hops are checked.
type admitter interface{ admitted() bool }

func admitted(h Handshake) bool {
	a, ok := h.(admitter)
	return ok && a.admitted()
}

// releaser is a Handshake that can be used for another client once it is over
// and no goroutine waits in it.
type releaser interface{ release() }

// Step is one step of a handshake.
type Step struct {
	Consumed int      // bytes of the input that are dealt with
	Send     []byte   // bytes to send to the client now
	Request  *Request // set once the client has asked for something
}

// Command is what a request asks for.
type Command uint8

// The commands of a request.
const (
	Connect   Command = iota // open a connection to the target
	Bind                     // SOCKS5 BIND, RFC 1928 section 4
	Associate                // SOCKS5 UDP ASSOCIATE, RFC 1928 section 7
	Inform                   // no server: RFC 8803 section 4.2 bootstrap, or a check
	Join                     // the connection becomes a leg of Request.Stream
)

// Request is what a client asks for.
type Request struct {
	Command Command
	Host    string         // a name to resolve; empty when Target is an address
	Target  netip.AddrPort // the address, or only the port with a Host
	User    string         // who asks, when authenticated
	MPTCP   bool           // try MPTCP towards the server
	Stream  redundant.ID   // for Join
	// Instance of the stream; 0: any, also a new one
	Instance redundant.Instance
	Asked    options.Request // options of the connection that the client asks for
}

// Outcome is how the attempt to satisfy a request went.
type Outcome struct {
	Err     error          // nil: connected
	FD      int            // the server's end when connected
	SYNACKs SYNACKs        // knows what the server's SYN-ACK held; nil: nobody does
	Bound   netip.AddrPort // for Bind and Associate: the address to tell; for the second reply of Bind: the peer
	Second  bool           // second reply of Bind
	Granted options.Set    // what the client gets of Request.Asked
	// Instance is that of the stream for Join.
	Instance redundant.Instance
}
