// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"fmt"

	"layeh.com/radius"
	"layeh.com/radius/rfc2869"
)

// ErrForged is for packets whose Message-Authenticator is missing or wrong.
var ErrForged = errors.New("Message-Authenticator is missing or wrong")

// sign puts a Message-Authenticator (RFC 3579 section 3.2) in front of the other
// attributes, which are complete by now. The Authenticator of p is that of the
// request: random for an Access-Request, zero for those of RFC 5176, and for
// answers the one that they answer.
func sign(p *radius.Packet) error {
	p.Del(rfc2869.MessageAuthenticator_Type)
	avp := &radius.AVP{Type: rfc2869.MessageAuthenticator_Type, Attribute: make(radius.Attribute, md5.Size)}
	p.Attributes = append(radius.Attributes{avp}, p.Attributes...)
	sum, err := messageAuthenticator(p)
	if err != nil {
		return err
	}
	avp.Attribute = sum
	return nil
}

// verify checks the one Message-Authenticator that p has to have. Authenticator
// is that of the request, as for sign.
func verify(p *radius.Packet, authenticator [16]byte) error {
	var found *radius.AVP
	copied := *p
	copied.Authenticator = authenticator
	copied.Attributes = make(radius.Attributes, 0, len(p.Attributes))
	for _, avp := range p.Attributes {
		if avp.Type == rfc2869.MessageAuthenticator_Type {
			if found != nil || len(avp.Attribute) != md5.Size {
				return ErrForged
			}
			found = avp
			avp = &radius.AVP{Type: avp.Type, Attribute: make(radius.Attribute, md5.Size)}
		}
		copied.Attributes = append(copied.Attributes, avp)
	}
	if found == nil {
		return ErrForged
	}
	sum, err := messageAuthenticator(&copied)
	if err != nil {
		return err
	}
	if !hmac.Equal(sum, found.Attribute) {
		return ErrForged
	}
	return nil
}

// messageAuthenticator is that of p, whose own is zero.
func messageAuthenticator(p *radius.Packet) ([]byte, error) {
	wire, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("radius: %w", err)
	}
	mac := hmac.New(md5.New, p.Secret)
	mac.Write(wire)
	return mac.Sum(nil), nil
}
