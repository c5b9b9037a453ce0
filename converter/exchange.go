// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

const (
	// MaxAttempts is how many connections an Exchange may take, all of its
	// ErrRetry included: a stale cookie, none, a fresh one, and one more for
	// something that is not supported.
	MaxAttempts = 4
	// maxCookie is the longest cookie that is stored and sent, in bytes.
	maxCookie = 256
)

// errCookieUseless is a converter that demands a cookie which we have no way
// to satisfy.
var errCookieUseless = fmt.Errorf("%w: it demands a cookie but gives none that it accepts", ErrNotAuthorized)

// Exchange is one request and its answer. It is not safe for concurrent use.
type Exchange struct {
	dialer *Dialer
	target netip.AddrPort // not valid for Info alone
	extras Extras
	leg    *wire.Redundancy // instead of a target

	attempts int
	shown    []byte // the cookie of the present attempt
	doubted  []byte // the cookie that an attempt without one is to prove stale
	asked    Extras // the extras of the present attempt
}

// Answer is what the converter says when it serves a request.
type Answer struct {
	// SYNACK are the TCP options of the server's SYN-ACK; nil if not known.
	SYNACK []byte
	// ServerMPTCP says that SYNACK shows that the server speaks Multipath TCP.
	ServerMPTCP bool
	// Supported are the kinds of TCP options that the converter supports; nil
	// if it did not say.
	Supported []uint8
	// Private are the TLVs for private use. They and SYNACK alias the input.
	Private []wire.Private
	// Chosen says that the converter understands the options of Extras.Choices;
	// Granted are those that it grants.
	Chosen  bool
	Granted options.Set
}

// AppendRequest appends the request to what is to be sent first on a new
// connection. It is called once more after each ErrRetry.
func (x *Exchange) AppendRequest(dst []byte, now time.Time) []byte {
	x.attempts++
	x.asked = x.extras
	x.shown = x.dialer.present(&x.asked, now)
	if x.doubted != nil && bytes.Equal(x.doubted, x.shown) {
		x.shown = nil
	}
	m := wire.Message{Cookie: x.shown}
	if x.leg != nil {
		m.Private = []wire.Private{x.leg.Private()}
	} else if x.target.IsValid() {
		m.Info, m.Private = x.asked.Supported, x.asked.Private
		m.Connect = connectTo(x.target, x.asked.Options)
	} else {
		m.Info = true
	}
	// It can be written: Extras.check has seen to that.
	out, _ := m.AppendTo(dst)
	return out
}

func connectTo(target netip.AddrPort, options []wire.TCPOption) *wire.Connect {
	return &wire.Connect{Addr: target.Addr(), Port: target.Port(), Options: options}
}

// Read looks at all bytes received so far. It returns the answer and how many
// bytes it occupies: those after it are the server's. The error is
// wire.ErrShort when more bytes are needed, ErrRetry, or final: it wraps
// ErrIncompatible, or is an *Error.
func (x *Exchange) Read(in []byte, now time.Time) (Answer, int, error) {
	m, n, err := wire.Parse(in)
	switch {
	case errors.Is(err, wire.ErrShort):
		return Answer{}, 0, wire.ErrShort
	case err != nil:
		return Answer{}, 0, fmt.Errorf("%w: %w", ErrIncompatible, err)
	case m.Connect != nil || m.Cookie != nil || m.Info:
		return Answer{}, 0, fmt.Errorf("%w: answer looks like a request", ErrIncompatible)
	case m.Error != nil:
		return Answer{}, 0, x.failed(m.Error, now)
	}
	a := Answer{SYNACK: m.ExtendedTCPHeader, Supported: m.Supported, Private: m.Private}
	a.Granted, a.Chosen = grantedOf(&m, x.extras.Choices)
	a.ServerMPTCP = wire.HasMPCapable(a.SYNACK)
	if a.ServerMPTCP && x.target.IsValid() {
		x.dialer.servers.add(x.target, now)
	}
	return a, n, nil
}

// failed decides what an error means, and whether another attempt may fare
// better.
func (x *Exchange) failed(e *wire.Error, now time.Time) error {
	again := false
	switch e.Code {
	case wire.MissingCookie:
		if !x.learn(e.Cookie(), now) {
			if x.doubted != nil {
				// The cookie was right, so the refusal was meant.
				return newError(&wire.Error{Code: wire.NotAuthorized, Value: e.Value[:1]}, false)
			}
			return errCookieUseless
		}
		again = true
	case wire.NotAuthorized:
		if again = x.dialer.doubts(x.shown, now); again {
			x.doubted = x.shown
		}
	case wire.UnsupportedTCPOption:
		again = x.drop(e.List(), nil, now)
	case wire.UnsupportedMessage:
		again = x.drop(nil, e.List(), now)
	case wire.ResourceExceeded, wire.NetworkFailure:
		x.dialer.avoid(now)
	}
	err := newError(e, x.target.Addr().Unmap().Is6())
	if again && x.attempts < MaxAttempts {
		return fmt.Errorf("%w: %w", ErrRetry, err)
	}
	return err
}

// learn takes a cookie, and reports whether it is news.
func (x *Exchange) learn(cookie []byte, now time.Time) bool {
	if len(cookie) == 0 || len(cookie) > maxCookie || bytes.Equal(cookie, x.shown) {
		return false
	}
	x.dialer.issued(cookie, now)
	return !bytes.Equal(cookie, x.doubted)
}

// drop notes what of the request is not supported, and reports whether there
// is something to leave out.
func (x *Exchange) drop(kinds, types []uint8, now time.Time) bool {
	var k []uint8
	for _, o := range x.asked.Options {
		if slices.Contains(kinds, o.Kind) {
			k = append(k, o.Kind)
		}
	}
	var t []wire.Type
	for _, p := range x.asked.Private {
		if slices.Contains(types, uint8(p.Type)) {
			t = append(t, p.Type)
		}
	}
	if k == nil && t == nil {
		return false
	}
	x.dialer.refuses(k, t, now)
	return true
}
