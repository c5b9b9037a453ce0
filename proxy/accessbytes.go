// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// networksRound is how often the subflows of live connections are looked at: what
// a subflow has moved since then is known only as a sum when it is gone.
const networksRound = 5 * time.Second

// NetworkBytes is what was moved over an access network, in bytes of payload.
// What MPTCP sends again over another subflow counts for both networks.
type NetworkBytes struct {
	Name     string
	Up, Down uint64 // from the side of clients, and to it
}

// networkCounters are those of an access network on one event loop.
type networkCounters struct {
	up, down atomic.Uint64
	_        [48]byte
}

// SetNetworks tells access networks apart from now on, for live connections too;
// nil does not. Each MPTCP connection then costs a system call or two at its end
// and in each round.
func (s *Server) SetNetworks(n *Networks) { s.networks.Store(n) }

// Networks are those that are told apart; nil if none are.
func (s *Server) Networks() *Networks { return s.networks.Load() }

// lookAtNetworks counts what live connections have moved, until ctx ends.
func (s *Server) lookAtNetworks(ctx context.Context) {
	ticker := time.NewTicker(networksRound)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.networks.Load() == nil {
			continue
		}
		for i := range s.workers {
			for range s.walk(i, func(x *session) { x.countNetworks(false) }) {
			}
		}
	}
}

// carriage is what the subflows of a session's access leg have carried.
type carriage struct {
	flows    []flowBytes
	up, down uint64 // that were counted, of all flows
	byName   []NetworkBytes
}

// flowBytes is what one subflow has carried when it was looked at last.
type flowBytes struct {
	local, remote netip.AddrPort
	network       string
	up, down      uint64
	pending       uint64 // bytes sent and not acknowledged: it may never carry them
	gone          bool
}

// accessLeg is the end of the pair that is on the side of the access networks:
// towards a converter or proxy if there is one, else towards the client.
func (s *session) accessLeg() (end int, status mptcp.Status) {
	if s.through {
		return relay.Server, s.serverMPTCP
	}
	return relay.Client, s.clientMPTCP
}

// countNetworks counts what was moved since it was counted last. The last time
// what is known of no subflow is counted too.
func (s *session) countNetworks(last bool) {
	n := s.worker.server.networks.Load()
	if n == nil || s.phase != relaying {
		return
	}
	c := s.worker.carriages[s]
	if c == nil {
		c = new(carriage)
		s.worker.carriages[s] = c
	}
	end, status := s.accessLeg()
	if !status.MPTCP || s.carriedBy(end) != nil {
		up, down := s.pair.Moved()
		up += uint64(s.early)
		s.carried(c, s.firstNetwork(n, end), up-min(c.up, up), down-min(c.down, down))
		return
	}
	fd := s.pair.Ends[end].FD
	subflows, err := mptcp.Subflows(fd)
	if err != nil {
		return // it has been closed
	}
	s.countFlows(c, n, end, subflows)
	if !last {
		return
	}
	up, down := s.pair.Moved()
	if info, err := mptcp.InfoOf(fd); err == nil {
		up, down = info.BytesReceived, info.BytesSent
		if end == relay.Server {
			up, down = down, up
		}
	}
	s.countRest(c, n, end, up, down)
}

// countFlows counts those subflows that are there.
func (s *session) countFlows(c *carriage, n *Networks, end int, subflows []mptcp.Subflow) {
	for i := range c.flows {
		c.flows[i].gone = true
	}
	for i := range subflows {
		f := &subflows[i]
		at := slices.IndexFunc(c.flows, func(k flowBytes) bool { return k.local == f.Local && k.remote == f.Remote })
		if at < 0 {
			at = len(c.flows)
			c.flows = append(c.flows, flowBytes{
				local: f.Local, remote: f.Remote, network: n.Of(f.Local.Addr(), f.Remote.Addr(), end == relay.Server),
			})
		}
		sent := f.TCP.BytesSent - min(f.TCP.BytesRetrans, f.TCP.BytesSent)
		acked := min(f.TCP.BytesAcked, sent) // the kernel counts SYN and FIN too
		up, down := f.TCP.BytesReceived, acked
		if end == relay.Server {
			up, down = down, up
		}
		k := &c.flows[at]
		s.carried(c, k.network, up-min(k.up, up), down-min(k.down, down))
		k.up, k.down, k.pending, k.gone = max(k.up, up), max(k.down, down), sent-acked, false
	}
}

// countRest counts what the connection has moved beyond what was seen of its
// subflows: it is still on the way over some, or went over some that are gone, if
// any are, and else over the first.
func (s *session) countRest(c *carriage, n *Networks, end int, up, down uint64) {
	up, down = up-min(c.up, up), down-min(c.down, down)
	for i := range c.flows {
		k := &c.flows[i]
		if k.gone {
			continue
		}
		sent := &down
		if end == relay.Server {
			sent = &up
		}
		n := min(*sent, k.pending)
		*sent -= n
		if end == relay.Server {
			s.carried(c, k.network, n, 0)
		} else {
			s.carried(c, k.network, 0, n)
		}
	}
	if up == 0 && down == 0 {
		return
	}
	var gone []string
	for i := range c.flows {
		if c.flows[i].gone && !slices.Contains(gone, c.flows[i].network) {
			gone = append(gone, c.flows[i].network)
		}
	}
	if len(gone) == 0 {
		gone = []string{s.firstNetwork(n, end)}
	}
	parts := uint64(len(gone))
	for i, name := range gone {
		u, d := up/parts, down/parts
		if i == 0 {
			u, d = up-(parts-1)*u, down-(parts-1)*d
		}
		s.carried(c, name, u, d)
	}
}

// firstNetwork is that of the addresses which a leg began with.
func (s *session) firstNetwork(n *Networks, end int) string {
	local, _ := mptcp.LocalAddr(s.pair.Ends[end].FD) // one that is not known belongs to no network
	if end == relay.Client {
		return n.Of(local.Addr(), s.client.Addr(), false)
	}
	return n.Of(local.Addr(), s.server.Addr(), true)
}

// carried counts bytes for a network.
func (s *session) carried(c *carriage, name string, up, down uint64) {
	if up == 0 && down == 0 {
		return
	}
	c.up, c.down = c.up+up, c.down+down
	at := slices.IndexFunc(c.byName, func(b NetworkBytes) bool { return b.Name == name })
	if at < 0 {
		at = len(c.byName)
		c.byName = append(c.byName, NetworkBytes{Name: name})
	}
	c.byName[at].Up += up
	c.byName[at].Down += down
	counters := s.worker.networks.of(name)
	counters.up.Add(up)
	counters.down.Add(down)
	if s.account != nil {
		s.account.MovedOver(name, up, down)
	}
}
