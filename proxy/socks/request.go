// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"fmt"
	"net/netip"

	socks5 "github.com/armon/go-socks5"
)

// Command is what a client asks for: RFC 1928 section 4.
type Command uint8

// The commands of RFC 1928 section 4.
const (
	Connect   = Command(socks5.ConnectCommand)
	Bind      = Command(socks5.BindCommand)
	Associate = Command(socks5.AssociateCommand)
)

// String returns the name that RFC 1928 gives to the command.
func (c Command) String() string {
	switch c {
	case Connect:
		return "CONNECT"
	case Bind:
		return "BIND"
	case Associate:
		return "UDP ASSOCIATE"
	}
	return fmt.Sprintf("command %d", uint8(c))
}

// Request is what a client asks for.
type Request struct {
	Command Command
	// Host is the name of the target, to be resolved, or empty when Addr is
	// its address. It has passed ParseName: it is not an address.
	Host string
	// Addr is the target; with a Host only its port is set. IPv4 addresses
	// mapped into IPv6 are unmapped. For BIND it is the peer that will
	// connect and for UDP ASSOCIATE the address that the client will send
	// from: there it may be 0.0.0.0:0, and there is no Host for the latter.
	Addr netip.AddrPort
	// User is the authenticated user, empty without authentication.
	User string
	// Options is what followed the first ';' in the user name, not parsed.
	Options string
}

// requestHeader is version, command and the reserved byte.
const requestHeader = 3

// parse reads the request that in begins with and returns its length, which
// is 0 with an error that is found before all of it has arrived.
func (r *Request) parse(in []byte) (int, error) {
	if len(in) <= requestHeader {
		return 0, ErrShort
	}
	switch {
	case in[0] != version5:
		return 0, fmt.Errorf("%w: version %d of the request", ErrMalformed, in[0])
	case in[2] != 0:
		return 0, fmt.Errorf("%w: reserved byte is %d", ErrMalformed, in[2])
	}
	n, err := addressLength(in[requestHeader:])
	if err != nil {
		return 0, err
	}
	n += requestHeader
	if len(in) < n {
		return 0, ErrShort
	}
	// The codec reports bytes that are missing by a text only, ignores the
	// reserved byte and takes any name: hence the checks around it.
	asked, err := socks5.NewRequest(bytes.NewReader(in[:n]))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r.Command = Command(asked.Command)
	if asked.DestAddr.IP == nil {
		err = r.named(asked.DestAddr.FQDN, uint16(asked.DestAddr.Port))
	} else {
		ip, _ := netip.AddrFromSlice(asked.DestAddr.IP)
		r.Addr = netip.AddrPortFrom(ip.Unmap(), uint16(asked.DestAddr.Port))
	}
	if err == nil {
		err = r.check()
	}
	return n, err
}

// named sets the target from the text of a name. An address written as a name
// becomes an address, for policies to see it.
func (r *Request) named(name string, port uint16) error {
	ip, err := ParseName(name)
	if err != nil {
		return err
	}
	r.Addr = netip.AddrPortFrom(ip, port)
	if !ip.IsValid() {
		r.Host = name
	}
	return nil
}

// check refuses what cannot be meant with the command.
func (r *Request) check() error {
	switch {
	case r.Command == Associate && r.Host != "":
		// It is the client's own address, not one to look up.
		return fmt.Errorf("%w: a name in %s", ErrAddressType, r.Command)
	case r.Command != Connect:
		return nil
	case r.Addr.Port() == 0:
		return fmt.Errorf("%w: port 0", ErrTarget)
	case r.Addr.Addr().IsUnspecified():
		// Linux would connect to itself.
		return fmt.Errorf("%w: %s", ErrTarget, r.Addr.Addr())
	}
	return nil
}
