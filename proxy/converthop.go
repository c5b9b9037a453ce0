// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// ConvertHop leads through a Transport Converter (RFC 8803).
type ConvertHop struct {
	peer
	dialer *converter.Dialer
	probe  bool
	ask    options.Set
	askBy  options.Source
}

// ConvertHopOptions are those of NewConvertHop.
type ConvertHopOptions struct {
	Name      string
	Addresses []netip.AddrPort // of the converter
	Connect   mptcp.ConnectOptions
	Dialer    converter.DialerConfig
	// ProbeMPTCP asks the converter to try MPTCP towards servers, which tells
	// which of them speak it: see Bypass.
	ProbeMPTCP bool
	// Ask is what to ask the converter for, as options of the connection with
	// it, and AskBy the way: FromTCPOption, or 0 for a TLV of the request.
	Ask   options.Set
	AskBy options.Source
}

// NewConvertHop returns a hop through one converter.
func NewConvertHop(o ConvertHopOptions) *ConvertHop {
	return &ConvertHop{
		peer:   peer{name: o.Name, addresses: o.Addresses, connect: o.Connect},
		dialer: converter.NewDialer(o.Dialer),
		probe:  o.ProbeMPTCP,
		ask:    o.Ask,
		askBy:  cmp.Or(o.AskBy, options.FromConvert),
	}
}

// Resolves implements Hop: a Connect TLV names an address.
func (h *ConvertHop) Resolves() bool { return false }

// Converse implements Hop.
func (h *ConvertHop) Converse(_ *Client, req *Request, target netip.AddrPort) (Conversation, error) {
	if !h.dialer.Available(time.Now()) {
		return nil, HopError(fmt.Errorf("%s: %w", h.name, converter.ErrUnavailable))
	}
	var extras converter.Extras
	if h.askBy == options.FromConvert {
		extras.Choices = h.ask
	}
	if h.probe || req.MPTCP {
		extras.Options = []wire.TCPOption{{Kind: wire.KindMPTCP}}
	}
	x, err := h.dialer.Connect(target, extras)
	if err != nil {
		return nil, err
	}
	return &convertConversation{exchange: x, hop: h}, nil
}

// convertConversation is a request in a first message and the answer in
// another.
type convertConversation struct {
	exchange *converter.Exchange
	hop      *ConvertHop
	answer   converter.Answer
}

// Choice implements Asker.
func (c *convertConversation) Choice() *HopChoice {
	if c.hop.ask.Empty() {
		return nil
	}
	return &HopChoice{By: c.hop.askBy, Asked: c.hop.ask, Answered: c.answer.Chosen, Granted: c.answer.Granted}
}

// Opening implements Conversation.
func (c *convertConversation) Opening(dst []byte) ([]byte, bool) {
	return c.exchange.AppendRequest(dst, time.Now()), true
}

// Next implements Conversation.
func (c *convertConversation) Next(in []byte) (n int, send []byte, done bool, err error) {
	c.answer, n, err = c.exchange.Read(in, time.Now())
	var answered *converter.Error
	switch {
	case err == nil:
		return n, nil, true, nil
	case errors.Is(err, wire.ErrShort):
		return 0, nil, false, ErrMore
	case errors.Is(err, converter.ErrRetry):
		return 0, nil, false, fmt.Errorf("%w: %w", ErrRetry, err)
	case errors.As(err, &answered) && answered.Code == wire.MalformedMessage:
		// It may dislike this target and serve all others.
		return 0, nil, false, err
	case errors.Is(err, converter.ErrUnavailable), errors.Is(err, converter.ErrIncompatible):
		return 0, nil, false, HopError(err)
	}
	return 0, nil, false, err
}

// Check implements Checked: it asks what the converter supports, over a
// connection like those of clients. A converter that asked to be left alone is
// left alone.
func (h *ConvertHop) Check(ctx context.Context) error {
	if !h.dialer.Available(time.Now()) {
		return fmt.Errorf("%s: %w", h.name, converter.ErrUnavailable)
	}
	x := h.dialer.Inform()
	for {
		err := h.inform(ctx, x)
		if !errors.Is(err, converter.ErrRetry) {
			return err
		}
	}
}

func (h *ConvertHop) inform(ctx context.Context, x *converter.Exchange) error {
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return converse(ctx, c, x.AppendRequest(nil, time.Now()), func(in []byte) (int, []byte, error) {
		_, n, err := x.Read(in, time.Now())
		switch {
		case err == nil:
			return n, nil, errDone
		case errors.Is(err, wire.ErrShort):
			return 0, nil, ErrMore
		}
		return 0, nil, err
	})
}

// Bypass is an upstream that goes directly, over MPTCP, to servers that
// converters have seen to speak it themselves, and like another upstream to
// all others (RFC 8803: the client may then bypass the converter).
type Bypass struct {
	upstream   Upstream
	converters []*ConvertHop
	direct     Hop
}

// NewBypass returns an upstream like upstream, which leads through converters
// that probe for MPTCP. Direct must ask for MPTCP; it is preferred where the
// server is known to speak it.
func NewBypass(upstream Upstream, converters []*ConvertHop, direct Hop) *Bypass {
	b := &Bypass{upstream: upstream, converters: converters}
	b.direct = &bypassHop{direct, converters}
	return b
}

// Hops implements Upstream.
func (b *Bypass) Hops(req *Request) []Hop {
	hops := b.upstream.Hops(req)
	now := time.Now()
	for _, c := range b.converters {
		if req.Host == "" && c.dialer.SpeaksMPTCP(req.Target, now) {
			return append([]Hop{b.direct}, hops...)
		}
	}
	return hops
}

// bypassHop forgets servers that do not keep what they promised the converter.
type bypassHop struct {
	Hop
	converters []*ConvertHop
}

// Report implements Hop.
func (h *bypassHop) Report(req *Request, status mptcp.Status, err error) {
	if err == nil && status.MPTCP {
		return
	}
	for _, c := range h.converters {
		c.dialer.Forget(req.Target)
	}
}
