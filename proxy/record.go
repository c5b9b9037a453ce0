// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Record is what is kept of a connection when it has ended.
type Record struct {
	Listener    string
	Client      netip.AddrPort
	ClientMPTCP mptcp.Status
	User        string
	Host        string         // the name that was asked for, if one was
	Server      netip.AddrPort // the address connected to, or asked of the hop
	Hop         string
	ServerMPTCP mptcp.Status
	Start       time.Time
	Connected   time.Duration // from Start until the client was served; 0 = never
	Duration    time.Duration
	Up, Down    uint64 // bytes delivered to the server and to the client
	Err         error  // why it ended; nil when both streams had ended
}

// Recorder takes the records of ended connections. It is called on event
// loops and must neither block nor keep the record, which is used again.
type Recorder interface {
	Record(*Record)
}

// Counters count what the proxy did since it was started. One set belongs to
// one event loop, so that loops share no cache line; Server.Stats adds them up.
type Counters struct {
	Accepted    atomic.Uint64
	Active      atomic.Int64
	Relayed     atomic.Uint64 // connections that were served: relayed, or else given what they asked for
	Up, Down    atomic.Uint64 // bytes delivered by ended connections
	ClientMPTCP atomic.Uint64
	Refused     [numReasons]atomic.Uint64
	Fallback    [mptcp.NumReasons]atomic.Uint64 // server legs without MPTCP though asked, by mptcp.FallbackReason
	_           [64]byte
}

// Stats is a sum of Counters.
type Stats struct {
	Accepted, Relayed, Up, Down, ClientMPTCP uint64
	Active                                   int64
	Refused                                  map[string]uint64
	Fallback                                 map[string]uint64
}

func sum(sets []*Counters) Stats {
	s := Stats{Refused: map[string]uint64{}, Fallback: map[string]uint64{}}
	for _, c := range sets {
		s.Accepted += c.Accepted.Load()
		s.Active += c.Active.Load()
		s.Relayed += c.Relayed.Load()
		s.Up += c.Up.Load()
		s.Down += c.Down.Load()
		s.ClientMPTCP += c.ClientMPTCP.Load()
		for i := range c.Refused {
			if n := c.Refused[i].Load(); n > 0 {
				s.Refused[Reason(i).String()] += n
			}
		}
		for i := range c.Fallback {
			if n := c.Fallback[i].Load(); n > 0 {
				s.Fallback[mptcp.FallbackReason(i).String()] += n
			}
		}
	}
	return s
}
