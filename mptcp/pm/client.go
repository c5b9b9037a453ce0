// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Options of Dial and Subscribe.
type Options struct {
	// NetNS is a descriptor of the network namespace to work in; 0 is that of
	// the calling thread. It may be closed afterwards.
	NetNS int
	// Buffer is how many bytes of events the kernel keeps for a subscriber;
	// 0 is its default, net.core.rmem_default. An event takes about 1 kB.
	Buffer int
}

// Client gives commands to the path managers of one network namespace. It may
// be used by several goroutines at once; commands are carried out one at a time.
type Client struct {
	conn   *genetlink.Conn
	family genetlink.Family
}

// Dial makes a client. The error wraps mptcp.ErrUnsupported if the kernel has
// no MPTCP.
func Dial(o Options) (*Client, error) {
	conn, family, err := dial(o)
	if err != nil {
		return nil, fmt.Errorf("path manager: %w", err)
	}
	return &Client{conn, family}, nil
}

func dial(o Options) (*genetlink.Conn, genetlink.Family, error) {
	conn, err := genetlink.Dial(&netlink.Config{NetNS: o.NetNS})
	if err != nil {
		return nil, genetlink.Family{}, err
	}
	// Without it there are errors, but not the words that tell them apart.
	err = conn.SetOption(netlink.ExtendedAcknowledge, true)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		conn.Close()
		return nil, genetlink.Family{}, err
	}
	family, err := conn.GetFamily(familyName)
	if err != nil {
		conn.Close()
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w (no netlink family %s)", mptcp.ErrUnsupported, familyName)
		}
		return nil, genetlink.Family{}, err
	}
	return conn, family, nil
}

// Close ends the client. A command that is being carried out may fail.
func (c *Client) Close() error { return c.conn.Close() }

// attributes fills in a message.
type attributes func(*netlink.AttributeEncoder) error

// do gives a command that is answered by success or an error only.
func (c *Client) do(op string, command uint8, token uint32, fill attributes) error {
	_, err := c.execute(op, command, token, netlink.Acknowledge, fill)
	return err
}

// ask gives a command that is answered with data. An acknowledgement on top of
// it must not be asked for: it would be taken for the next answer.
func (c *Client) ask(op string, command uint8, token uint32, flags netlink.HeaderFlags, fill attributes) ([]genetlink.Message, error) {
	return c.execute(op, command, token, flags, fill)
}

func (c *Client) execute(op string, command uint8, token uint32, flags netlink.HeaderFlags, fill attributes) ([]genetlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	if token != 0 {
		ae.Uint32(attrToken, token)
	}
	if fill != nil {
		if err := fill(ae); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	data, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	answers, err := c.conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: command, Version: c.family.Version},
		Data:   data,
	}, c.family.ID, netlink.Request|flags)
	return answers, opError(op, token, err)
}
