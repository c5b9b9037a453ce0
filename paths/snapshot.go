// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

// ConnectionState is what Snapshot tells of a connection.
type ConnectionState struct {
	Token     uint32
	Initiator bool
	Policy    string // Policy.Name
	Begun     time.Time
	// Lost is since when it has no subflow; zero if it has some. LostBy is why
	// the last one ended.
	Lost   time.Time
	LostBy Cause
	// Subflows are those that exist, are waited for or are being closed; Past are
	// the last ones that ended, oldest first.
	Subflows, Past []SubflowState
	Remotes        []Remote // addresses of the peer for more subflows
	Paths          []Path   // on which there could be some
}

// SubflowState is what Snapshot tells of a subflow.
type SubflowState struct {
	Subflow
	Interface string // that has the local address; empty if none has
}

// LocalAddr is the local address and port.
func (s *Subflow) LocalAddr() netip.AddrPort { return s.local() }

// Snapshot returns the adopted connections in the order in which they began,
// with figures that are new. It waits for the engine, and walks all TCP sockets
// of the namespace. After Close there are none.
func (e *Engine) Snapshot() ([]ConnectionState, error) {
	var states []ConnectionState
	var addresses []address
	if !e.ask(func() { states, addresses = e.states(), slices.Clone(e.net.addresses) }) {
		return nil, nil
	}
	// A socket of its own: the loop is not to wait for this.
	diag, err := sockdiag.Dial(e.o.NetNS)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	defer diag.Close()
	sockets, err := diag.All()
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	figures := make(map[[2]netip.AddrPort]*sockdiag.Subflow, len(sockets))
	for i := range sockets {
		figures[[2]netip.AddrPort{sockets[i].Local, sockets[i].Remote}] = &sockets[i]
	}
	for i := range states {
		for _, list := range [][]SubflowState{states[i].Subflows, states[i].Past} {
			for j := range list {
				s := &list[j]
				if at := slices.IndexFunc(addresses, func(a address) bool { return a.Addr == s.Local }); at >= 0 {
					s.Interface = addresses[at].device
				}
				if k := figures[[2]netip.AddrPort{s.local(), s.Remote}]; k != nil && s.State != Closed {
					s.see(*k)
				}
			}
		}
	}
	return states, nil
}

func (e *Engine) states() []ConnectionState {
	var states []ConnectionState
	for _, c := range e.conns {
		if !c.adopted {
			continue
		}
		s := ConnectionState{
			Token: c.Token, Initiator: c.Initiator, Policy: c.policy.Name, Begun: c.Begun,
			Lost: c.lost, LostBy: c.lostBy, Remotes: slices.Clone(c.Remotes), Paths: slices.Clone(c.Paths),
		}
		for _, f := range slices.Concat(c.Subflows, c.closing) {
			s.Subflows = append(s.Subflows, SubflowState{Subflow: f})
		}
		for _, f := range c.past {
			s.Past = append(s.Past, SubflowState{Subflow: f})
		}
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b ConnectionState) int {
		return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.Token, b.Token))
	})
	return states
}
