// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// kernelTimeout bounds the wait for the kernel's answers.
	kernelTimeout = 10 * time.Second
	// socketBuffer bounds a batch, which is sent at once, in bytes, and the
	// answers to it. Memory is taken as needed.
	socketBuffer = 32 << 20
	// chunk is how many elements go in one message, whose attributes have 16
	// bits for their length. It is even: the two ends of a range stay together.
	chunk = 1000
)

// table is an nftables table that belongs to its netlink socket: only through
// this socket can it be changed, and the kernel removes it when the socket is
// closed (NFT_TABLE_F_OWNER, since Linux 5.12).
type table struct {
	conn *nftables.Conn
	nl   *netlink.Conn // of conn
	t    *nftables.Table
	// What is in it.
	chains []*nftables.Chain
	sets   []*nftables.Set
}

// openTable creates an empty table.
func openTable(name string) (*table, error) {
	t := &table{t: &nftables.Table{Name: name, Family: nftables.TableFamilyINet}}
	var err error
	t.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		t.nl = c
		return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
	}))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w (%w)", ErrUnsupported, err)
	}
	if err := t.create(); err != nil {
		t.conn.CloseLasting()
		return nil, err
	}
	return t, nil
}

func (t *table) create() error {
	t.deadline()
	// Listing asks for the right to use nftables, before any other reason for
	// EPERM comes in.
	switch _, err := t.conn.ListTablesOfFamily(nftables.TableFamilyINet); {
	case errors.Is(err, unix.EPERM):
		return ErrPermission
	case err != nil:
		return fmt.Errorf("nftables: %w: is the module nf_tables missing? (%w)", ErrUnsupported, err)
	}
	switch err := t.createOwned(); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("nftables table inet %s: %w by another process that is running: stop that one", t.t.Name, ErrInUse)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("nftables table inet %s: %w, and not made by Tandem: rename it, or run: nft delete table inet %s", t.t.Name, ErrInUse, t.t.Name)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("nftables table with an owner: %w: it needs Linux 5.12 (%w)", ErrUnsupported, err)
	default:
		return fmt.Errorf("create nftables table inet %s: %w", t.t.Name, err)
	}
}

// createOwned creates the table with an owner, which the library cannot do.
func (t *table) createOwned() error {
	const flagOwner = 2 // NFT_TABLE_F_OWNER
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: []byte(t.t.Name + "\x00")},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, flagOwner)},
	})
	if err != nil {
		return err
	}
	// struct nfgenmsg: family, version, resource id in big-endian.
	header := func(family byte, resource uint16) []byte {
		return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	}
	_, err = t.nl.SendMessages([]netlink.Message{
		{
			Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request},
			Data:   header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		}, {
			Header: netlink.Header{
				Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE,
				Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append(header(unix.NFPROTO_INET, 0), attrs...),
		}, {
			Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request},
			Data:   header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		},
	})
	if err != nil {
		return err
	}
	_, err = t.nl.Receive()
	return err
}

// reserve puts the name of a routing into the table, for others to see.
func (t *table) reserve(r routing) error {
	name := r.chain()
	if slices.ContainsFunc(t.chains, func(c *nftables.Chain) bool { return c.Name == name }) {
		return nil
	}
	t.deadline()
	c := t.conn.AddChain(&nftables.Chain{Name: name, Table: t.t})
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("nftables table inet %s: %w", t.t.Name, err)
	}
	t.chains = append(t.chains, c)
	return nil
}

// replace replaces the content of the table at one stroke: no packet meets
// anything but the old rules or the new ones.
func (t *table) replace(rs ruleset) error {
	t.deadline()
	t.conn.FlushTable(t.t)
	for _, c := range t.chains {
		t.conn.DelChain(c)
	}
	for _, s := range t.sets {
		t.conn.DelSet(s)
	}
	var chains []*nftables.Chain
	var sets []*nftables.Set
	for i, s := range rs.sets() {
		n := s.nft(t.t, uint32(i+1))
		if err := t.addSet(n, s.nftElements()); err != nil {
			return fmt.Errorf("nftables set %s: %w", s.name, err)
		}
		sets = append(sets, n)
	}
	for _, c := range rs.chains {
		chains = append(chains, t.conn.AddChain(&nftables.Chain{
			Name: c.name, Table: t.t, Type: c.typ, Hooknum: c.hook, Priority: c.priority,
		}))
	}
	for i, c := range rs.chains {
		for _, r := range c.rules {
			t.conn.AddRule(&nftables.Rule{
				Table: t.t, Chain: chains[i], Exprs: r.exprs(),
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.reason),
			})
		}
	}
	if err := t.conn.Flush(); err != nil {
		if missing := t.missing(rs); missing != nil {
			return missing
		}
		return fmt.Errorf("nftables table inet %s: %w", t.t.Name, err)
	}
	t.chains, t.sets = chains, sets
	return nil
}

func (t *table) addSet(n *nftables.Set, elements []nftables.SetElement) error {
	if err := t.conn.AddSet(n, nil); err != nil {
		return err
	}
	for part := range slices.Chunk(elements, chunk) {
		if err := t.conn.SetAddElements(n, part); err != nil {
			return err
		}
	}
	return nil
}

// missing tries the parts of a ruleset that kernels are built without, one by
// one, and returns an error that names those which do not work.
func (t *table) missing(rs ruleset) error {
	var errs []error
	tried := map[string]bool{}
	try := func(c chain, what, module string, e ...expr.Any) {
		if tried[what] {
			return
		}
		tried[what] = true
		t.deadline()
		probe := t.conn.AddChain(&nftables.Chain{Name: "probe", Table: t.t, Type: c.typ, Hooknum: c.hook, Priority: c.priority})
		if len(e) > 0 {
			t.conn.AddRule(&nftables.Rule{Table: t.t, Chain: probe, Exprs: e})
		}
		t.conn.FlushChain(probe)
		t.conn.DelChain(probe)
		if err := t.conn.Flush(); err != nil {
			errs = append(errs, fmt.Errorf("nftables %s: %w: load or build the module %s (%w)", what, ErrUnsupported, module, err))
		}
	}
	for _, c := range rs.chains {
		if c.typ == nftables.ChainTypeNAT {
			try(c, "chain of type nat", "nft_chain_nat")
		}
		for _, r := range c.rules {
			for _, e := range r.exprs() {
				switch e := e.(type) {
				case *expr.TProxy:
					try(c, "tproxy", "nft_tproxy", &expr.Immediate{Register: 1, Data: []byte{0, 1}}, &expr.TProxy{Family: e.Family, RegPort: 1})
				case *expr.Socket:
					try(c, "socket", "nft_socket", e)
				case *expr.Fib:
					try(c, "fib", "nft_fib_inet", e)
				case *expr.Redir:
					try(c, "redirect", "nft_redir", redirect(1).exprs...)
				case *expr.Reject:
					try(c, "reject", "nft_reject_inet", e)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// routings are those that other tables rely on.
func (t *table) routings() (map[routing]bool, error) {
	t.deadline()
	chains, err := t.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	others := map[routing]bool{}
	for _, c := range chains {
		if r, ok := parseChain(c.Name); ok && c.Table.Name != t.t.Name {
			others[r] = true
		}
	}
	return others, nil
}

// remove removes the table.
func (t *table) remove() error {
	t.deadline()
	t.conn.DelTable(t.t)
	err := t.conn.Flush()
	t.chains, t.sets = nil, nil
	if err != nil {
		return fmt.Errorf("delete nftables table inet %s: %w", t.t.Name, err)
	}
	return nil
}

// close closes the socket, and with it removes the table if it is still there.
func (t *table) close() error { return t.conn.CloseLasting() }

func (t *table) deadline() { t.nl.SetDeadline(time.Now().Add(kernelTimeout)) }
