// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/netip"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// Errors of the way to a server, as opposed to those of the server itself.
var (
	// ErrNoUpstream: every aggregator or proxy on the way is down.
	ErrNoUpstream = errors.New("no upstream is available")
	// ErrRetry is returned by a conversation that wants to begin again on a
	// new connection, having learnt something (a cookie). It does so a few
	// times at most.
	ErrRetry = errors.New("try again on a new connection")
)

// Upstream knows the ways to servers.
type Upstream interface {
	// Hops returns the ways to try for a request, best first; none when all
	// are down. The caller does not change the slice.
	Hops(req *Request) []Hop
}

// Hop is one way to a server: straight to it, or through a converter or a
// proxy that is connected to first.
type Hop interface {
	// Name is the hop as records and logs show it.
	Name() string
	// Addresses are connected to instead of the target; nil for the target.
	Addresses() []netip.AddrPort
	// Resolves reports whether the hop accepts names, so that the proxy need
	// not resolve them.
	Resolves() bool
	// Options are those of the connection to remote on behalf of a client.
	Options(c *Client, req *Request, remote netip.AddrPort) mptcp.ConnectOptions
	// Converse begins what has to be said on the new connection before bytes
	// are relayed; nil when nothing has.
	Converse(c *Client, req *Request, target netip.AddrPort) (Conversation, error)
	// Report tells how an attempt went: what its connection negotiated, and
	// err, which is nil, a HopError, or else says nothing against the hop.
	Report(req *Request, status mptcp.Status, err error)
}

// Conversation is what a hop has to say and hear on a fresh connection.
type Conversation interface {
	// Opening appends the first bytes; they may travel in the SYN. whole says
	// that nothing else will be said, so that the client's bytes may follow at
	// once. It is called once more after each ErrRetry.
	Opening(dst []byte) (opening []byte, whole bool)
	// Next looks at the answer so far: how many bytes it has consumed, what
	// to send, and whether the way to the server stands. It returns ErrMore
	// when it needs more bytes, ErrRetry to start over; other errors are
	// final for this hop. A conversation without an answer is done at once.
	Next(in []byte) (consumed int, send []byte, done bool, err error)
}

// Asker is a Conversation that may ask the hop for options of the connection.
type Asker interface {
	Conversation
	// Choice is what was asked and granted, once the conversation is done; nil
	// if nothing was asked.
	Choice() *HopChoice
}

// HopChoice is what a hop was asked for.
type HopChoice struct {
	By    options.Source // FromConvert, FromSOCKS or FromTCPOption
	Asked options.Set
	// Answered says that the hop has told what it grants; SOCKS5 servers cannot.
	// In TCP options the answers come one by one.
	Answered bool
	Granted  options.Set
}

// answered notes an answer in a TCP option. One to what was never asked counts
// for nothing.
func (c *HopChoice) answered(o options.Option, granted options.Value) {
	if c != nil && c.By == options.FromTCPOption && c.Asked.Has(o) {
		c.Answered = true
		c.Granted, _ = c.Granted.With(o, granted)
	}
}

func (c *HopChoice) clone() *HopChoice {
	if c == nil {
		return nil
	}
	own := *c
	return &own
}

// hopError marks an error of the way, which lets the session try the next
// hop: the server has not been asked.
type hopError struct{ err error }

func (e *hopError) Error() string { return e.err.Error() }
func (e *hopError) Unwrap() error { return e.err }

// HopError marks err as one of the way to the server.
func HopError(err error) error { return &hopError{err} }

func isHopError(err error) bool {
	var e *hopError
	return errors.As(err, &e)
}
