// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// AddEndpoint adds an address to the in-kernel path manager. It goes to work on
// connections that exist already, too. With an ID of 0 the kernel chooses one:
// see Endpoints. With a port the kernel listens on it.
//
// Errors: EEXIST for an address and EBUSY for an ID that is there already,
// EADDRNOTAVAIL for a port of an address that the host does not have, EINVAL
// for flags that do not go together (a port needs Signal and forbids Subflow;
// Signal and Fullmesh exclude each other).
func (c *Client) AddEndpoint(e Endpoint) error {
	if !e.Addr.IsValid() {
		return fmt.Errorf("add endpoint: %w", errNoAddress)
	}
	return c.do("add endpoint", cmdAddAddr, 0, e.local)
}

// DeleteEndpoint removes the endpoint with the given ID, which closes the
// subflows from it and withdraws it from peers. With ID 0, addr is the local
// address of first subflows that shall be closed; else it is ignored. The
// error is ErrGone if there is no such endpoint.
func (c *Client) DeleteEndpoint(id uint8, addr netip.Addr) error {
	e := Endpoint{ID: id}
	if id == 0 {
		if !addr.IsValid() {
			return fmt.Errorf("delete endpoint 0: %w", errNoAddress)
		}
		e.Addr = addr
	}
	return c.do("delete endpoint", cmdDelAddr, 0, e.local)
}

// FlushEndpoints removes all endpoints.
func (c *Client) FlushEndpoints() error {
	return c.do("flush endpoints", cmdFlushAddrs, 0, nil)
}

// Endpoint returns the endpoint with the given ID, ErrGone if there is none.
func (c *Client) Endpoint(id uint8) (Endpoint, error) {
	return c.address("get endpoint", 0, id)
}

// Endpoints returns all endpoints, in the order they were added.
func (c *Client) Endpoints() ([]Endpoint, error) {
	return c.addresses("list endpoints", 0)
}

// SetEndpointFlags changes the flags Backup and Fullmesh of the endpoint with
// the ID or, if that is 0, the address of e to those of e, and leaves its other
// flags alone. All connections of the namespace follow. The error is ErrGone
// if there is no such endpoint.
func (c *Client) SetEndpointFlags(e Endpoint) error {
	e.Flags &= Backup | Fullmesh
	return c.do("set flags of endpoint", cmdSetFlags, 0, e.local)
}

// Limits of what the in-kernel path manager does on each connection. Linux
// allows up to 8 of each.
type Limits struct {
	Subflows        uint32 // beyond the first one
	AddAddrAccepted uint32 // addresses announced by the peer that are used
}

// Limits returns the limits of the namespace.
func (c *Client) Limits() (Limits, error) {
	const op = "get limits"
	answers, err := c.ask(op, cmdGetLimits, 0, 0, nil)
	if err != nil {
		return Limits{}, err
	}
	m, err := single(answers)
	if err != nil {
		return Limits{}, fmt.Errorf("%s: %w", op, err)
	}
	l, err := parseLimits(m.Data)
	if err != nil {
		return Limits{}, fmt.Errorf("%s: %w", op, err)
	}
	return l, nil
}

// SetLimits changes the limits for new connections. The error is EINVAL above
// 8.
func (c *Client) SetLimits(l Limits) error {
	return c.do("set limits", cmdSetLimits, 0, func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(attrSubflows, l.Subflows)
		ae.Uint32(attrRcvAddAddrs, l.AddAddrAccepted)
		return nil
	})
}

func parseLimits(b []byte) (Limits, error) {
	var l Limits
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return l, err
	}
	for ad.Next() {
		switch ad.Type() {
		case attrSubflows:
			l.Subflows = ad.Uint32()
		case attrRcvAddAddrs:
			l.AddAddrAccepted = ad.Uint32()
		}
	}
	return l, ad.Err()
}

// address asks for one address of the namespace, or of a connection.
func (c *Client) address(op string, token uint32, id uint8) (Endpoint, error) {
	// ID 0 is an address of a connection like others, and has to be said.
	answers, err := c.ask(op, cmdGetAddr, token, 0, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrAddr, func(nae *netlink.AttributeEncoder) error {
			nae.Uint8(addrID, id)
			return nil
		})
		return nil
	})
	if err != nil {
		return Endpoint{}, err
	}
	m, err := single(answers)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", op, err)
	}
	e, err := parseEndpoint(m.Data)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", op, err)
	}
	return e, nil
}

// addresses asks for all of them.
func (c *Client) addresses(op string, token uint32) ([]Endpoint, error) {
	answers, err := c.ask(op, cmdGetAddr, token, netlink.Dump, nil)
	if err != nil {
		return nil, err
	}
	endpoints := make([]Endpoint, len(answers))
	for i, m := range answers {
		if endpoints[i], err = parseEndpoint(m.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return endpoints, nil
}

var errAnswers = errors.New("kernel did not give one answer")

func single(answers []genetlink.Message) (genetlink.Message, error) {
	if len(answers) != 1 {
		return genetlink.Message{}, errAnswers
	}
	return answers[0], nil
}
