// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// The messages of SOCKS5 (RFC 1928) without authentication. They are sent one
// at a time, as nearly all clients do: some relays do not take pipelined ones.
const (
	socksChoice = 2  // length of the method selection
	socksReply  = 10 // length of a reply with an IPv4 address
)

var socksGreeting = []byte{5, 1, 0}

// socksRequest asks to connect to an IPv4 address.
func socksRequest(target netip.AddrPort) []byte {
	addr := target.Addr().As4()
	return append(append([]byte{5, 1, 0, 1}, addr[:]...), byte(target.Port()>>8), byte(target.Port()))
}

// checkChoice wants the method without authentication.
func checkChoice(b []byte) error {
	if b[0] != 5 || b[1] != 0 {
		return fmt.Errorf("SOCKS5 method selection is %x", b)
	}
	return nil
}

// checkReply wants success.
func checkReply(b []byte) error {
	if b[0] != 5 || b[1] != 0 || b[3] != 1 {
		return fmt.Errorf("SOCKS5 reply is %x", b)
	}
	return nil
}

// socksConnect asks for the target on a blocking connection.
func socksConnect(c io.ReadWriter, target netip.AddrPort) error {
	var in [socksReply]byte
	if _, err := c.Write(socksGreeting); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, in[:socksChoice]); err != nil {
		return fmt.Errorf("SOCKS5 method selection: %w", err)
	}
	if err := checkChoice(in[:socksChoice]); err != nil {
		return err
	}
	if _, err := c.Write(socksRequest(target)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, in[:]); err != nil {
		return fmt.Errorf("SOCKS5 reply: %w", err)
	}
	return checkReply(in[:])
}

// errClosed is the end of a stream that should have gone on.
var errClosed = errors.New("connection closed by the other side")

// read reads what there is, once; 0 without error means that nothing is there.
func read(s *event.Socket, b []byte) (int, error) {
	n, err := unix.Read(s.FD, b)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		if err == unix.EAGAIN {
			s.Readable = false
		}
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, errClosed
	}
	return n, nil
}

// write sends a message that fits any socket's buffer.
func write(s *event.Socket, b []byte) error {
	n, err := unix.Write(s.FD, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
