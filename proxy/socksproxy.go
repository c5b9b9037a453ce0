// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// SOCKSHop leads through a SOCKS5 server (RFC 1928), which resolves names.
type SOCKSHop struct {
	peer
	client socks.Client
	ask    options.Set
}

// NewSOCKSHop returns a hop through one SOCKS5 server, which is asked for
// options of the connections with it behind the user name.
func NewSOCKSHop(name string, addresses []netip.AddrPort, connect mptcp.ConnectOptions, client socks.Client, ask options.Set) *SOCKSHop {
	if !ask.Empty() {
		client.User += ";" + ask.String()
		// A server that knows no users takes any password, but not none.
		client.Password = cmp.Or(client.Password, "-")
	}
	return &SOCKSHop{peer: peer{name: name, addresses: addresses, connect: connect}, client: client, ask: ask}
}

// Resolves implements Hop.
func (h *SOCKSHop) Resolves() bool { return true }

// Converse implements Hop.
func (h *SOCKSHop) Converse(_ *Client, req *Request, target netip.AddrPort) (Conversation, error) {
	t := socks.Target{Addr: target}
	if !target.IsValid() {
		t = socks.Target{Host: req.Host, Addr: req.Target}
	}
	c := &socksConversation{machine: h.client.Handshake(t), eager: h.client.Eager, asked: h.ask}
	_, opening, _, err := c.machine.Next(nil)
	if err != nil {
		return nil, err
	}
	c.opening = opening
	return c, nil
}

type socksConversation struct {
	machine *socks.ClientHandshake
	opening []byte
	eager   bool
	asked   options.Set
}

// Choice implements Asker.
func (c *socksConversation) Choice() *HopChoice {
	if c.asked.Empty() {
		return nil
	}
	return &HopChoice{By: options.FromSOCKS, Asked: c.asked}
}

// Opening implements Conversation.
func (c *socksConversation) Opening(dst []byte) ([]byte, bool) {
	return append(dst, c.opening...), c.eager
}

// Next implements Conversation.
func (c *socksConversation) Next(in []byte) (n int, send []byte, done bool, err error) {
	n, send, done, err = c.machine.Next(in)
	var reply *socks.ReplyError
	switch {
	case err == nil:
		return n, send, done, nil
	case err == socks.ErrShort:
		return n, send, false, ErrMore
	case errors.As(err, &reply):
		return n, send, false, err
	}
	return n, send, false, HopError(err)
}

// Check implements Checked: it greets the server and authenticates, over a
// connection like those of clients, and asks for nothing.
func (h *SOCKSHop) Check(ctx context.Context) error {
	client := h.client
	client.Eager = false // the request comes last, and is not sent
	machine := client.Handshake(socks.Target{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)})
	_, greeting, _, err := machine.Next(nil)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return converse(ctx, c, greeting, func(in []byte) (int, []byte, error) {
		n, send, _, err := machine.Next(in)
		switch {
		case err == socks.ErrShort:
			return n, nil, ErrMore
		case err == nil && machine.Admitted():
			return n, nil, errDone
		}
		return n, send, err
	})
}
