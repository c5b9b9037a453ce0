// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/subscribers"
)

// SOCKS is the front end for SOCKS5 clients.
type SOCKS struct {
	server *socks.Server
	free   sync.Pool // of *socksHandshake
}

// NewSOCKS returns a front end that speaks as server does.
func NewSOCKS(server *socks.Server) *SOCKS { return &SOCKS{server: server} }

// Greet implements FrontEnd.
func (f *SOCKS) Greet(*Client, time.Time) Handshake {
	h, _ := f.free.Get().(*socksHandshake)
	if h == nil {
		h = &socksHandshake{front: f}
	}
	f.server.Begin(&h.machine)
	return h
}

type socksHandshake struct {
	front   *SOCKS
	machine socks.Handshake
	request Request
}

// admitted implements admitter.
func (h *socksHandshake) admitted() bool { return h.machine.Admitted() }

// release implements releaser.
func (h *socksHandshake) release() {
	h.request = Request{}
	h.front.free.Put(h)
}

// Next implements Handshake.
func (h *socksHandshake) Next(in []byte) (Step, error) {
	n, send, asked, err := h.machine.Next(in)
	step := Step{Consumed: n, Send: send}
	switch {
	case err == socks.ErrShort:
		return step, ErrMore
	case err == socks.ErrVerify:
		return step, ErrWait
	case err != nil || asked == nil:
		return step, err
	}
	h.request = Request{Host: asked.Host, Target: asked.Addr, User: asked.User}
	if asked.Options != "" {
		h.request.Asked = options.ParseRequest(asked.Options)
	}
	switch asked.Command {
	case socks.Bind:
		h.request.Command = Bind
	case socks.Associate:
		h.request.Command = Associate
	}
	step.Request = &h.request
	return step, nil
}

// Wait implements Waiter: it finds out whether the password is right.
func (h *socksHandshake) Wait(ctx context.Context) { h.machine.Verify(ctx) }

// Reply implements Handshake: RFC 1928 section 6.
func (h *socksHandshake) Reply(dst []byte, o Outcome) []byte {
	bound := o.Bound
	if o.Err == nil && h.request.Command == Connect {
		// A client can do nothing with it, so that one that cannot be had is
		// no reason to fail: it is told 0.0.0.0:0.
		bound, _ = mptcp.LocalAddr(o.FD)
	}
	return socks.AppendReply(dst, bound, socksError(o.Err))
}

// errNoWay is for what a client is told as general failure.
var errNoWay = errors.New("no way to the server")

// socksError turns errors of the proxy into those that package socks has reply
// codes for. Errors of the way say nothing of the server: that an aggregator
// refuses the connection does not mean that the server does.
func socksError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, policy.ErrDenied), errors.Is(err, errNotMPTCP), errors.Is(err, subscribers.ErrNobody):
		return socks.ErrNotAllowed
	case errors.Is(err, converter.ErrNotAuthorized), errors.Is(err, converter.ErrMalformedTarget):
		return socks.ErrNotAllowed
	case errors.Is(err, policy.ErrRefused), errors.Is(err, subscribers.ErrAway), errors.Is(err, ErrNoUpstream), isHopError(err):
		return errNoWay
	}
	return err
}
