// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var (
	errNoID     = errors.New("no address ID: 0 is that of the first subflow's address")
	errNoPort   = errors.New("no port: a subflow is found by both of its ports")
	errFamilies = errors.New("local and remote address are of different families")
)

// The commands below act on the connection with a token (see mptcp.Status),
// which must have been created under the userspace path manager: else the
// error is ErrNotUserspace. It is ErrGone if the connection or subflow has
// ended. They return when the kernel has sent what is to be sent; what comes of
// it is told by events.

// Announce tells the peer of an address (ADD_ADDR, RFC 8684 section 3.4.1) with
// an ID that is not 0. If it has a port, an MPTCP socket must listen there.
// Signal is set for the caller. The error is EINVAL if the address is known to
// the connection under another ID, or the ID is taken.
//
// An IPv6 address with a port has no room beside TCP timestamps: Linux 6.18
// then sends nothing and returns no error.
func (c *Client) Announce(token uint32, e Endpoint) error {
	const op = "announce address"
	if err := needsID(e); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	e.Flags |= Signal
	return c.do(op, cmdAnnounce, token, e.local)
}

// Remove withdraws the address with the given ID (REMOVE_ADDR, RFC 8684 section
// 3.4.2), announced or used by subflows, and closes its subflows. ID 0 is the
// address of the first subflow.
func (c *Client) Remove(token uint32, id uint8) error {
	return c.do("remove address", cmdRemove, token, func(ae *netlink.AttributeEncoder) error {
		ae.Uint8(attrLocID, id)
		return nil
	})
}

// CreateSubflow begins to open a subflow (MP_JOIN, RFC 8684 section 3.2) from
// an address with an ID that is not 0 to an address of the peer with its port.
// Backup is the only flag that counts. SubflowEstablished tells that it stands,
// SubflowClosed that it could not be opened. The error is EINVAL if the address
// is known to the connection under another ID, or the ID is taken; and that of
// connect(2), such as EADDRNOTAVAIL or ENETUNREACH.
//
// The kernel remembers the address and its ID for the connection even when the
// peer closes the subflow: use the same again.
func (c *Client) CreateSubflow(token uint32, local Endpoint, remote netip.AddrPort) error {
	const op = "create subflow"
	if err := needsID(local); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	remote = unmap(remote)
	if err := sameFamily(local.Addr.Unmap(), remote.Addr()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	local.Flags &= Backup
	return c.do(op, cmdSubflowCreate, token, func(ae *netlink.AttributeEncoder) error {
		to := Endpoint{Addr: remote.Addr(), Port: remote.Port()}
		return errors.Join(local.local(ae), to.nest(ae, attrAddrRemote))
	})
}

// DestroySubflow closes the subflow with exactly these addresses and ports,
// and makes the kernel forget the ID of the local one.
func (c *Client) DestroySubflow(token uint32, local, remote netip.AddrPort) error {
	return c.subflow("destroy subflow", cmdSubflowDestroy, token, local, remote, 0)
}

// SetBackup makes the subflow with exactly these addresses and ports a backup,
// or no backup, for both ends (MP_PRIO, RFC 8684 section 3.3.8).
func (c *Client) SetBackup(token uint32, local, remote netip.AddrPort, backup bool) error {
	var flags Flags
	if backup {
		flags = Backup
	}
	return c.subflow("set priority of subflow", cmdSetFlags, token, local, remote, flags)
}

// Addresses returns the local addresses that a connection knows by ID, with
// those that it learnt from its subflows. Linux 6.9 is needed.
func (c *Client) Addresses(token uint32) ([]Endpoint, error) {
	return c.addresses("list addresses", token)
}

// Address returns the local address that a connection knows by an ID. Linux 6.9
// is needed.
func (c *Client) Address(token uint32, id uint8) (Endpoint, error) {
	return c.address("get address", token, id)
}

// subflow gives a command about an existing subflow.
func (c *Client) subflow(op string, command uint8, token uint32, local, remote netip.AddrPort, flags Flags) error {
	local, remote = unmap(local), unmap(remote)
	if err := sameFamily(local.Addr(), remote.Addr()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if local.Port() == 0 || remote.Port() == 0 {
		return fmt.Errorf("%s: %w", op, errNoPort)
	}
	from := Endpoint{Addr: local.Addr(), Port: local.Port(), Flags: flags}
	to := Endpoint{Addr: remote.Addr(), Port: remote.Port()}
	give := func() error {
		return c.do(op, command, token, func(ae *netlink.AttributeEncoder) error {
			return errors.Join(from.nest(ae, attrAddr), to.nest(ae, attrAddrRemote))
		})
	}
	err := give()
	if noSubflow(err) && from.Addr.Is4() {
		// An IPv4 subflow that an IPv6 listener accepted is known to the
		// kernel by IPv4-mapped addresses.
		from.Addr, to.Addr = netip.AddrFrom16(from.Addr.As16()), netip.AddrFrom16(to.Addr.As16())
		err = give()
	}
	var e *OpError
	if noSubflow(err) && errors.As(err, &e) {
		e.gone = true
	}
	return err
}

// noSubflow reports whether the kernel did not find a subflow: to SUBFLOW_DESTROY
// it says ESRCH, to SET_FLAGS EINVAL without a word (mptcp_pm_mp_prio_send_ack
// in net/mptcp/pm.c).
func noSubflow(err error) bool {
	var e *OpError
	return errors.As(err, &e) && (e.Errno == unix.ESRCH || e.Errno == unix.EINVAL && e.Message == "")
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func needsID(e Endpoint) error {
	if e.ID == 0 {
		return errNoID
	}
	if !e.Addr.IsValid() {
		return errNoAddress
	}
	return nil
}

func sameFamily(local, remote netip.Addr) error {
	if !local.IsValid() || !remote.IsValid() {
		return errNoAddress
	}
	if local.Is4() != remote.Is4() {
		return fmt.Errorf("%w: %s and %s", errFamilies, local, remote)
	}
	return nil
}
