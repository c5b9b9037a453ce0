// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc3162"

	"github.com/tandem-gateway/tandem/subscribers"
)

// Identity is how a gateway names itself to servers.
type Identity struct {
	NAS     string     // NAS-Identifier
	Address netip.Addr // NAS-IP-Address or NAS-IPv6-Address; the zero Addr: none
}

func (i *Identity) add(p *radius.Packet) error {
	if err := rfc2865.NASIdentifier_SetString(p, i.NAS); err != nil {
		return err
	}
	switch a := i.Address.Unmap(); {
	case a.Is4():
		return rfc2865.NASIPAddress_Set(p, a.AsSlice())
	case a.Is6():
		return rfc3162.NASIPv6Address_Set(p, a.AsSlice())
	}
	return nil
}

// ClientOptions are those of NewClient.
type ClientOptions struct {
	Servers  []Server // at least one, the most preferred first
	Patience Patience
	Identity Identity
	// Password is sent for clients that are known by their address, where
	// there is none to be had.
	Password string
	Log      *slog.Logger // nil: slog.Default
}

// Client asks servers who subscribers are. It implements subscribers.Backend.
type Client struct {
	group *group
	o     ClientOptions
}

// NewClient sends nothing yet.
func NewClient(o ClientOptions) *Client {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Client{newGroup(o.Servers, o.Patience, o.Log), o}
}

// Longest is how long Authenticate takes at most, with all its servers.
func (c *Client) Longest() time.Duration {
	p := c.group.patience
	return time.Duration(len(c.o.Servers)*p.Tries) * p.Timeout
}

// Authenticate implements subscribers.Backend.
func (c *Client) Authenticate(ctx context.Context, q subscribers.Question) (subscribers.Grant, error) {
	answer, err := c.group.exchange(ctx,
		func(secret []byte) (*radius.Packet, error) { return c.accessRequest(&q, secret) },
		func(request, answer *radius.Packet) error { return verify(answer, request.Authenticator) })
	if err != nil {
		return subscribers.Grant{}, fmt.Errorf("radius: %w", err)
	}
	switch answer.Code {
	case radius.CodeAccessAccept:
		grant, err := grantOf(answer)
		if err != nil {
			c.o.Log.Warn("a subscriber is refused because an Access-Accept cannot be understood", "user", q.User, "err", err)
			err = fmt.Errorf("%w: %w", subscribers.ErrRejected, err)
		}
		return grant, err
	case radius.CodeAccessReject:
		return subscribers.Grant{}, fmt.Errorf("radius: %w: %s", subscribers.ErrRejected, rfc2865.ReplyMessage_GetString(answer))
	}
	// A challenge asks for what neither SOCKS5 nor Convert can carry.
	return subscribers.Grant{}, fmt.Errorf("radius: %w: %v", subscribers.ErrRejected, answer.Code)
}

func (c *Client) accessRequest(q *subscribers.Question, secret []byte) (*radius.Packet, error) {
	p := radius.New(radius.CodeAccessRequest, secret)
	password := q.Password
	if q.ByAddress {
		password = c.o.Password
	}
	// RFC 2865 section 5.2 has room for 128 bytes; longer ones are none that a
	// server can know.
	if len(password) > 128 || len(q.User) > 253 || q.User == "" {
		return nil, fmt.Errorf("%w: want a name of 1 to 253 bytes and a password of at most 128", subscribers.ErrRejected)
	}
	serviceType := rfc2865.ServiceType_Value_AuthenticateOnly
	if q.ByAddress {
		serviceType = rfc2865.ServiceType_Value_CallCheck
	}
	for _, err := range []error{
		rfc2865.UserName_SetString(p, q.User),
		rfc2865.UserPassword_SetString(p, password),
		rfc2865.ServiceType_Set(p, serviceType),
		rfc2865.NASPortType_Set(p, rfc2865.NASPortType_Value_Virtual),
		c.o.Identity.add(p),
		addressOf(p, q.Address),
		sign(p),
	} {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// addressOf adds the address of a client, if it is known.
func addressOf(p *radius.Packet, a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return nil
	}
	if err := rfc2865.CallingStationID_SetString(p, a.String()); err != nil {
		return err
	}
	if a.Is4() {
		return rfc2865.FramedIPAddress_Set(p, a.AsSlice())
	}
	return nil
}
