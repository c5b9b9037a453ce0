// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/redundant"
	"github.com/tandem-gateway/tandem/subscribers"
)

// ConvertFront is the front end for clients of a Transport Converter (RFC
// 8803).
type ConvertFront struct {
	server *converter.Server
	inner  *converter.Server // for what comes through legs
}

// NewConvertFront returns a front end that answers as server does.
func NewConvertFront(server *converter.Server) *ConvertFront {
	return &ConvertFront{server, server.Trusting()}
}

// Greet implements FrontEnd.
func (f *ConvertFront) Greet(c *Client, now time.Time) Handshake {
	return &convertHandshake{server: f.server, client: c, now: now}
}

type convertHandshake struct {
	server  *converter.Server
	client  *Client
	now     time.Time
	asked   converter.Request
	request Request
}

// Next implements Handshake.
func (h *convertHandshake) Next(in []byte) (Step, error) {
	asked, n, err := h.server.Read(h.client.Remote.Addr(), in, h.now)
	var refusal *converter.Refusal
	switch {
	case errors.Is(err, wire.ErrShort):
		return Step{}, ErrMore
	case errors.As(err, &refusal):
		return Step{Consumed: len(in), Send: refusal.Answer}, err
	case err != nil:
		return Step{}, err
	}
	// What aliases the input is of no use later.
	asked.Options, asked.FastOpenCookie, asked.Private = nil, nil, nil
	h.asked = asked
	h.request = Request{Target: asked.Target, MPTCP: asked.ProbeMPTCP, Asked: asked.Choices}
	switch {
	case asked.Leg != nil:
		h.request = Request{Command: Join, Stream: asked.Leg.ID, Instance: redundant.Instance(asked.Leg.Instance)}
	case asked.Info:
		h.request.Command = Inform
	}
	return Step{Consumed: n, Request: &h.request}, nil
}

// Reply implements Handshake.
func (h *convertHandshake) Reply(dst []byte, o Outcome) []byte {
	switch {
	case o.Err != nil:
		return h.server.Failure(dst, &h.asked, convertError(o.Err))
	case h.asked.Leg != nil:
		return h.server.Accept(dst, &wire.Redundancy{ID: h.asked.Leg.ID, Instance: uint64(o.Instance)})
	case h.asked.Info:
		return append(dst, h.asked.Answer...)
	}
	var options [wire.MaxTCPOptions]byte
	return h.server.Success(dst, &h.asked, h.synack(options[:0], o), o.Granted)
}

// synack appends the options of the server's SYN-ACK, where they can be had
// and are the server's: those of another hop say nothing about it.
func (h *convertHandshake) synack(dst []byte, o Outcome) []byte {
	if o.SYNACKs == nil {
		return nil
	}
	remote, err := mptcp.RemoteAddr(o.FD)
	if err != nil || remote != h.asked.Target {
		return nil
	}
	local, err := mptcp.LocalAddr(o.FD)
	if err != nil {
		return nil
	}
	dst, known := o.SYNACKs.AppendOptions(dst, local.Port(), remote)
	if !known {
		return nil
	}
	return dst
}

// convertError turns errors of the proxy into those that package converter has
// error codes for. Errors of the way say nothing of the server.
func convertError(err error) error {
	var upstream *socks.ReplyError
	switch {
	case errors.Is(err, policy.ErrDenied), errors.Is(err, errNotMPTCP), errors.Is(err, socks.ErrNotAllowed), errors.Is(err, subscribers.ErrNobody):
		return fmt.Errorf("%w: %w", converter.ErrNotAuthorized, err)
	case errors.Is(err, policy.ErrRefused), errors.Is(err, subscribers.ErrAway):
		return fmt.Errorf("%w: %w", converter.ErrResources, err)
	case errors.Is(err, redundant.ErrUnknown):
		// A stream that is lost is as if it had been reset.
		return fmt.Errorf("%w: %w", unix.ECONNRESET, err)
	case errors.Is(err, ErrNoUpstream), isHopError(err):
		return fmt.Errorf("%w: %w", converter.ErrUnavailable, err)
	case errors.As(err, &upstream) && upstream.Unwrap() == nil:
		// A proxy that fails for one server says nothing about the others.
		return fmt.Errorf("%w: %w", unix.EHOSTUNREACH, err)
	}
	return err
}

// ConvertOptions returns the kinds of TCP options that the kernel offers to
// servers in the network namespace of the calling thread, as a
// converter.Server announces them.
func ConvertOptions() []uint8 {
	var kinds []uint8
	for _, o := range []struct {
		kind   uint8
		sysctl string
	}{
		{wire.KindWindowScale, "tcp_window_scaling"},
		{wire.KindSACKPermitted, "tcp_sack"},
		{wire.KindTimestamps, "tcp_timestamps"},
	} {
		value, err := os.ReadFile("/proc/sys/net/ipv4/" + o.sysctl)
		if err != nil || !bytes.Equal(bytes.TrimSpace(value), []byte("0")) {
			kinds = append(kinds, o.kind)
		}
	}
	if mptcp.Supported() == nil {
		kinds = append(kinds, wire.KindMPTCP)
	}
	return kinds
}
