// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"

	socks5 "github.com/armon/go-socks5"
)

// Config says what a server offers.
type Config struct {
	// Users are asked about user names and passwords; with nil clients are
	// served without authentication. A store is called from event loops: it
	// must answer from memory, or be a Verifier, and be safe for concurrent
	// use. What follows the first ';' of a user name is not shown to it, see
	// Request.Options.
	Users socks5.CredentialStore
	// AnyUser lets clients give a name and a password though there are no
	// Users: any will do, and says nothing of who they are. It is for
	// Request.Options.
	AnyUser bool
	// Bind and UDP offer the commands BIND and UDP ASSOCIATE.
	Bind, UDP bool
}

// Verifier is a credential store that may need time to find out: to compute a
// hash, or to ask somebody else.
type Verifier interface {
	socks5.CredentialStore
	// Known says whether a password is right, if that is known already. It
	// does not block.
	Known(user, password string) (right, known bool)
	// Verify finds out. The error is that of ctx if that ends before.
	Verify(ctx context.Context, user, password string) (right bool, err error)
}

// Server makes the server's ends of handshakes. It is safe for concurrent use.
type Server struct {
	users     socks5.CredentialStore
	anyUser   bool
	bind, udp bool
}

// NewServer returns a server for a configuration, which is copied.
func NewServer(c *Config) *Server {
	return &Server{users: c.Users, anyUser: c.AnyUser, bind: c.Bind, udp: c.UDP}
}

// Handshake begins the handshake with a client that has just connected.
func (s *Server) Handshake() *Handshake {
	h := new(Handshake)
	s.Begin(h)
	return h
}

// Begin makes h, which may have been used before, what Handshake returns.
func (s *Server) Begin(h *Handshake) { *h = Handshake{server: s} }

// offers tells whether a command is one that is served.
func (s *Server) offers(c Command) bool {
	switch c {
	case Connect:
		return true
	case Bind:
		return s.bind
	case Associate:
		return s.udp
	}
	return false
}
