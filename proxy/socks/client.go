// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"fmt"
	"net/netip"
)

// Client is how to speak with a SOCKS5 server. Its zero value does not
// authenticate.
type Client struct {
	// User and Password, of at most 255 bytes each, are offered unless User
	// is empty.
	User, Password string
	// Eager sends greeting, authentication and request at once instead of
	// waiting for the answer to each, which saves one or two round trips. The
	// server must read what it needs and no more; Tandem's does, some others
	// take what comes in one segment for one message. Only one method is
	// offered then.
	Eager bool
}

// Target is what a client asks a server to connect to.
type Target struct {
	Host string         // a name for the server to resolve, or empty
	Addr netip.AddrPort // the address; with a Host only its port counts
}

// Handshake begins a handshake that asks for a connection to a target.
func (c *Client) Handshake(target Target) *ClientHandshake {
	return &ClientHandshake{client: *c, target: target, stage: opening}
}

// clientStage is what a client's handshake waits for.
type clientStage uint8

const (
	opening clientStage = iota
	choosing
	admitting
	replying
	over
)

// ClientHandshake is the client's end of a handshake. It is not safe for
// concurrent use.
type ClientHandshake struct {
	client Client
	target Target
	stage  clientStage
	bound  netip.AddrPort
}

// Next looks at the bytes that have arrived from the server and were not
// consumed yet, and says how many of them are dealt with and what to send.
// The first call, which needs no bytes, returns the opening.
//
// Once done, bytes after n are the target's. Without done and without an error
// Next wants to be called again with the bytes after n. ErrShort: more bytes
// are needed. A *ReplyError is the server's refusal of the request, which
// matches the errno that a direct connection would have met; any other error
// is about the server itself (ErrVersion, ErrMethods, ErrAuthentication,
// ErrMalformed) or about arguments that cannot be sent.
func (h *ClientHandshake) Next(in []byte) (n int, send []byte, done bool, err error) {
	switch h.stage {
	case opening:
		send, err = h.open()
	case choosing:
		n, send, err = h.choose(in)
	case admitting:
		n, send, err = h.admit(in)
	case replying:
		n, err = h.reply(in)
		done = err == nil
	default:
		err = ErrFinished
	}
	if err != nil && err != ErrShort {
		h.stage = over
	}
	return n, send, done, err
}

// Admitted reports whether the server has accepted the client, so that only the
// request is left.
func (h *ClientHandshake) Admitted() bool { return h.stage == replying }

// Bound returns the address that the server uses towards the target, as far as
// it told one; it is set once Next returned done.
func (h *ClientHandshake) Bound() netip.AddrPort { return h.bound }

// open checks the arguments and greets.
func (h *ClientHandshake) open() ([]byte, error) {
	c, t := &h.client, &h.target
	switch {
	case len(c.User) > 255 || len(c.Password) > 255:
		return nil, fmt.Errorf("%w: user name or password of more than 255 bytes", ErrAuthentication)
	case t.Host != "":
		if ip, err := ParseName(t.Host); err != nil {
			return nil, err
		} else if ip.IsValid() {
			t.Host, t.Addr = "", netip.AddrPortFrom(ip, t.Addr.Port())
		}
	case !t.Addr.Addr().IsValid():
		return nil, fmt.Errorf("%w: none given", ErrTarget)
	}
	h.stage = choosing
	switch {
	case c.User == "" && c.Eager:
		return h.appendRequest([]byte{version5, 1, noAuth}), nil
	case c.User == "":
		return []byte{version5, 1, noAuth}, nil
	case c.Eager:
		return h.appendRequest(h.appendCredentials([]byte{version5, 1, userPassAuth})), nil
	}
	return []byte{version5, 2, noAuth, userPassAuth}, nil
}

// choose hears which method the server has chosen.
func (h *ClientHandshake) choose(in []byte) (int, []byte, error) {
	if len(in) < 2 || in[0] != version5 {
		return 0, nil, shortOf(in)
	}
	var send []byte
	switch method := in[1]; {
	case method == noAuth && (h.client.User == "" || !h.client.Eager):
		h.stage = replying
		if !h.client.Eager {
			send = h.appendRequest(nil)
		}
	case method == userPassAuth && h.client.User != "":
		h.stage = admitting
		if !h.client.Eager {
			send = h.appendCredentials(nil)
		}
	default:
		return 2, nil, fmt.Errorf("%w: server chose %d", ErrMethods, method)
	}
	return 2, send, nil
}

// admit hears whether user name and password are right.
func (h *ClientHandshake) admit(in []byte) (int, []byte, error) {
	if len(in) == 0 {
		return 0, nil, ErrShort
	}
	// RFC 1929 section 2 says 1; servers that answer with 5 are known.
	if in[0] != authVersion && in[0] != version5 {
		return 0, nil, fmt.Errorf("%w: version %d of the authentication", ErrMalformed, in[0])
	}
	if len(in) < 2 {
		return 0, nil, ErrShort
	}
	if in[1] != authSuccess {
		return 2, nil, fmt.Errorf("%w: server answered with status %d", ErrAuthentication, in[1])
	}
	h.stage = replying
	if h.client.Eager {
		return 2, nil, nil
	}
	return 2, h.appendRequest(nil), nil
}

// reply hears the outcome of the request.
func (h *ClientHandshake) reply(in []byte) (int, error) {
	if len(in) < requestHeader || in[0] != version5 {
		return 0, shortOf(in)
	}
	if code := Code(in[1]); code != Succeeded {
		// What follows the code of a failure says nothing, and some servers
		// close without it.
		return requestHeader, &ReplyError{Code: code}
	}
	n, bound, name, err := parseAddress(in[requestHeader:])
	if err == ErrShort {
		return 0, ErrShort
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if name == nil {
		h.bound = bound
	}
	h.stage = over
	return requestHeader + n, nil
}

// shortOf is ErrShort, or ErrVersion when the first byte shows already that the
// message is none of SOCKS5: a server of another kind is not waited for.
func shortOf(in []byte) error {
	if len(in) > 0 && in[0] != version5 {
		return fmt.Errorf("%w: message begins with %#02x", ErrVersion, in[0])
	}
	return ErrShort
}

func (h *ClientHandshake) appendCredentials(dst []byte) []byte {
	dst = append(append(dst, authVersion, byte(len(h.client.User))), h.client.User...)
	return append(append(dst, byte(len(h.client.Password))), h.client.Password...)
}

func (h *ClientHandshake) appendRequest(dst []byte) []byte {
	dst = append(dst, version5, byte(Connect), 0)
	if h.target.Host != "" {
		return appendName(dst, h.target.Host, h.target.Addr.Port())
	}
	return appendAddress(dst, h.target.Addr)
}
