// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// stage is what a handshake waits for.
type stage uint8

const (
	greeting       stage = iota // RFC 1928 section 3
	authenticating              // RFC 1929 section 2
	verifying                   // whether the password is right
	requesting                  // RFC 1928 section 4
	finished
)

// Handshake is the server's end of one client's handshake. It is not safe for
// concurrent use.
type Handshake struct {
	server  *Server
	stage   stage
	request Request
	// While verifying: the password, and then what was found out.
	password string
	verdict  error
	// The longest exchange in one call is a choice of method, the outcome of
	// the authentication and a refusal; the longest reply has an IPv6 address.
	buf [24]byte
}

// Next looks at the bytes that have arrived and were not consumed yet. It
// takes the handshake as far as they allow and says how many of them are
// dealt with and what to send to the client.
//
// A request that is not nil is complete: bytes after n are payload, and Reply
// answers it. Without one and without an error Next wants to be called again
// with the bytes after n. ErrShort: more bytes are needed, n is 0 and there is
// nothing to send. ErrVerify: Verify is to be called, and Next again after it.
// With any other error what is to be sent is sent and the connection closed.
//
// It never waits for more than 513 bytes. The result depends on the bytes
// only, not on how they were cut into calls. reply and req are valid until the
// next call of a method, req beyond it once it has been returned.
func (h *Handshake) Next(in []byte) (n int, reply []byte, req *Request, err error) {
	reply = h.buf[:0]
	for h.stage != finished {
		var used int
		switch h.stage {
		case greeting:
			used, reply, err = h.greet(in[n:], reply)
		case authenticating:
			used, reply, err = h.authenticate(in[n:], reply)
		case verifying:
			reply, err = h.verified(reply)
		case requesting:
			used, reply, err = h.ask(in[n:], reply)
		}
		n += used
		switch {
		case err == ErrVerify:
			return n, reply, nil, ErrVerify
		case err == ErrShort && (n > 0 || len(reply) > 0):
			return n, reply, nil, nil
		case err == ErrShort:
			return 0, nil, nil, ErrShort
		case err != nil:
			h.stage = finished
			return n, reply, nil, err
		case h.stage == finished:
			return n, reply, &h.request, nil
		}
	}
	return 0, nil, nil, ErrFinished
}

// Admitted reports whether nothing but the request is missing.
func (h *Handshake) Admitted() bool { return h.stage == requesting }

// greet chooses the authentication method. The package that lends the codec
// does this inside its own connection loop only, and takes the first method of
// the client's list that it knows.
func (h *Handshake) greet(in, reply []byte) (int, []byte, error) {
	if len(in) == 0 {
		return 0, reply, ErrShort
	}
	if in[0] != version5 {
		answer, err := stranger(in)
		return 0, append(reply, answer...), err
	}
	if len(in) < 2 {
		return 0, reply, ErrShort
	}
	n := 2 + int(in[1])
	if len(in) < n {
		return 0, reply, ErrShort
	}
	method, next := byte(noAuth), requesting
	if h.server.users != nil || h.server.anyUser && bytes.IndexByte(in[2:n], userPassAuth) >= 0 {
		method, next = userPassAuth, authenticating
	}
	if bytes.IndexByte(in[2:n], method) < 0 {
		return n, append(reply, version5, noAcceptable), fmt.Errorf("%w: client offers %d, server needs %d", ErrMethods, in[2:n], method)
	}
	h.stage = next
	return n, append(reply, version5, method), nil
}

// authenticate checks user name and password. The authenticator of the package
// that lends the codec writes its choice of method before it reads and blocks
// until it has read all; only its credential store is of use here.
func (h *Handshake) authenticate(in, reply []byte) (int, []byte, error) {
	if len(in) == 0 {
		return 0, reply, ErrShort
	}
	if in[0] != authVersion {
		return 0, append(reply, authVersion, authFailure), fmt.Errorf("%w: version %d of the authentication", ErrMalformed, in[0])
	}
	if len(in) < 2 {
		return 0, reply, ErrShort
	}
	p := 2 + int(in[1]) // where the length of the password is
	if len(in) <= p {
		return 0, reply, ErrShort
	}
	n := p + 1 + int(in[p])
	if len(in) < n {
		return 0, reply, ErrShort
	}
	name, password := string(in[2:p]), string(in[p+1:n])
	user, options, _ := strings.Cut(name, ";")
	h.request.User, h.request.Options = user, options
	if strings.ContainsFunc(name, unicode.IsControl) {
		return h.admit(n, reply, false)
	}
	if h.server.users == nil {
		h.request.User = "" // anybody may have said that
		return h.admit(n, reply, true)
	}
	store, slow := h.server.users.(Verifier)
	if !slow {
		return h.admit(n, reply, h.server.users.Valid(user, password))
	}
	if right, known := store.Known(user, password); known {
		return h.admit(n, reply, right)
	}
	h.stage, h.password, h.verdict = verifying, password, ErrVerify
	return n, reply, nil
}

// admit answers to user name and password, which took n bytes.
func (h *Handshake) admit(n int, reply []byte, right bool) (int, []byte, error) {
	if !right {
		user := h.request.User
		h.request.User, h.request.Options = "", ""
		return n, append(reply, authVersion, authFailure), fmt.Errorf("%w: user %q", ErrAuthentication, user)
	}
	h.stage = requesting
	return n, append(reply, authVersion, authSuccess), nil
}

// Verify finds out what Next waits for. It may block and is not to be called
// from an event loop; no other method may be called meanwhile.
func (h *Handshake) Verify(ctx context.Context) {
	right, err := h.server.users.(Verifier).Verify(ctx, h.request.User, h.password)
	switch {
	case err != nil:
		h.verdict = fmt.Errorf("verify password of user %q: %w", h.request.User, err)
	case !right:
		h.verdict = ErrAuthentication
	default:
		h.verdict = nil
	}
	h.password = ""
}

// verified goes on with what Verify has found out.
func (h *Handshake) verified(reply []byte) ([]byte, error) {
	switch h.verdict {
	case ErrVerify:
		return reply, ErrVerify
	case nil, ErrAuthentication:
		_, reply, err := h.admit(0, reply, h.verdict == nil)
		return reply, err
	}
	return append(reply, authVersion, authFailure), h.verdict
}

// ask reads the request.
func (h *Handshake) ask(in, reply []byte) (int, []byte, error) {
	n, err := h.request.parse(in)
	if err == nil && !h.server.offers(h.request.Command) {
		err = fmt.Errorf("%w: %s", ErrCommand, h.request.Command)
	}
	switch err {
	case nil:
		h.stage = finished
		return n, reply, nil
	case ErrShort:
		return 0, reply, ErrShort
	}
	return n, AppendReply(reply, netip.AddrPort{}, err), err
}
