// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"errors"
	"fmt"
)

// ErrShort is returned by handshakes that need more bytes to go on. Nothing
// was consumed and there is nothing to send.
var ErrShort = errors.New("socks: message is not complete")

// What is wrong with a client, a server or a request. ReplyCode knows which
// reply code each of those of a request stands for.
var (
	// ErrVersion: the first byte is not that of SOCKS5. The three after it
	// tell which other protocol it looks like, and match ErrVersion too.
	ErrVersion = errors.New("socks: not SOCKS5")
	ErrSOCKS4  = fmt.Errorf("%w: looks like SOCKS4", ErrVersion)
	ErrHTTP    = fmt.Errorf("%w: looks like HTTP", ErrVersion)
	ErrTLS     = fmt.Errorf("%w: looks like TLS", ErrVersion)

	// ErrMethods: no authentication method that both sides accept.
	ErrMethods = errors.New("socks: no acceptable authentication method")
	// ErrAuthentication: user name or password is wrong.
	ErrAuthentication = errors.New("socks: authentication failed")
	// ErrMalformed: a message that breaks the protocol.
	ErrMalformed = errors.New("socks: malformed message")
	// ErrName: a host name that cannot exist.
	ErrName = errors.New("socks: not a host name")
	// ErrTarget: an address or port that cannot be connected to.
	ErrTarget = errors.New("socks: not an address to connect to")
	// ErrCommand: a command that is unknown or not offered.
	ErrCommand = errors.New("socks: command not supported")
	// ErrAddressType: an address type that is unknown or not possible here.
	ErrAddressType = errors.New("socks: address type not supported")
	// ErrNotAllowed: a policy is against it.
	ErrNotAllowed = errors.New("socks: not allowed by the rules")
	// ErrVerify: the handshake goes on once Handshake.Verify has returned.
	ErrVerify = errors.New("socks: password is to be verified")
	// ErrFinished: the handshake is over.
	ErrFinished = errors.New("socks: handshake is over")
)
