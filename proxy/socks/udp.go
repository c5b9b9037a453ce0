// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrIdle is why an association ended that nobody used.
var ErrIdle = errors.New("socks: no datagram for too long")

// AssociateConfig says how to serve UDP ASSOCIATE: RFC 1928 section 7.
type AssociateConfig struct {
	// Listen is the local address of the client's TCP connection: datagrams
	// of the client are received there, on a port of the kernel's choice.
	Listen netip.Addr
	// Client is what the request says that the client will send from. Its
	// port counts only when its address is that of Peer: otherwise, as with
	// 0.0.0.0:0 or from behind a NAT, the client's first datagram tells.
	Client netip.AddrPort
	// Peer is the client's address on TCP. Datagrams of no other are heard.
	Peer netip.Addr
	// Resolve looks names up, best address first; with nil datagrams to names
	// are dropped. It runs in a goroutine and ends with its context.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Allow says whether the client may send to an address; nil: to all. It
	// is asked for every datagram. Multicast, broadcast and unspecified
	// addresses are always denied.
	Allow func(netip.AddrPort) error
	// Meter holds the client to a rate and counts what is forwarded; nil: nobody
	// does.
	Meter Meter
	// Idle ends the association when nothing was forwarded for so long; 0:
	// it lasts as long as its context.
	Idle time.Duration
	// Source4 and Source6 are the addresses to send from; those that are not
	// valid are left to the kernel.
	Source4, Source6 netip.Addr
	// KeepSources has Sources know addresses that are left to the kernel.
	KeepSources bool
	// Control, when set, is called for the sockets towards servers before
	// they are bound, for example to set SO_MARK: see net.ListenConfig.
	Control func(network, address string, c syscall.RawConn) error
}

// Meter is told of datagrams as they are forwarded, by several goroutines. It must
// not block. Directions are Up and Down.
type Meter interface {
	// Allow returns how many bytes may move in a direction at a moment. With 0
	// the datagram is dropped: nobody waits for datagrams.
	Allow(direction int, now time.Time) (bytes int, wait time.Duration)
	// Moved counts bytes of payload.
	Moved(direction int, bytes uint64, now time.Time)
}

// Directions of datagrams.
const (
	Up   = 0 // from the client
	Down = 1 // to the client
)

// Association relays the datagrams of one client. Memory is taken for
// datagrams in flight, not while it waits.
type Association struct {
	config   AssociateConfig
	ctx      context.Context
	client   *net.UDPConn
	sender   atomic.Pointer[netip.AddrPort] // the client, once it has sent
	contacts contacts
	names    udpNames
	counters udpCounters
	buffers  sync.Pool

	begun time.Time
	last  atomic.Int64 // when something was forwarded, since begun
	idle  *time.Timer

	mu      sync.Mutex
	servers map[bool]*net.UDPConn // towards IPv4 (true) and IPv6 servers
	sources []netip.AddrPort      // of the servers' sockets, with KeepSources
	err     error                 // why it ended
	cancel  context.CancelFunc
	unwatch func() bool
	running sync.WaitGroup
	done    chan struct{}
}

// StartAssociation begins to relay for a client until ctx ends, Close is
// called or it is idle.
func StartAssociation(ctx context.Context, c AssociateConfig) (*Association, error) {
	c.Listen, c.Peer = c.Listen.Unmap(), c.Peer.Unmap()
	// Only datagrams of Peer are heard: what it says of another address, or
	// of none, says nothing about the port that they will come from.
	if c.Client.Addr().Unmap() != c.Peer.WithZone("") {
		c.Client = netip.AddrPort{}
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Listen, 0)))
	if err != nil {
		return nil, fmt.Errorf("socks: listen for datagrams: %w", err)
	}
	a := &Association{
		config:  c,
		client:  conn,
		servers: make(map[bool]*net.UDPConn),
		names:   udpNames{known: make(map[string]*knownName), pending: make(map[string][]held)},
		begun:   time.Now(),
		done:    make(chan struct{}),
	}
	a.buffers.New = func() any { return new([maxDatagramHeader + maxDatagram]byte) }
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.unwatch = context.AfterFunc(ctx, func() { a.end(context.Cause(ctx)) })
	if c.Idle > 0 {
		a.idle = time.AfterFunc(c.Idle, a.checkIdle)
	}
	go a.run()
	return a, nil
}

// Addr returns the address that the client is told to send to.
func (a *Association) Addr() netip.AddrPort {
	return a.client.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Counters returns what was forwarded and dropped so far.
func (a *Association) Counters() UDPCounters { return a.counters.load() }

// Sources returns the addresses that servers have seen, at most one of each
// family, with AssociateConfig.KeepSources. An address that the kernel chooses
// is the one towards the first server of the family.
func (a *Association) Sources() []netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.sources)
}

// Done is closed when the association has ended and holds nothing any more.
func (a *Association) Done() <-chan struct{} { return a.done }

// Err returns why the association ended: ErrIdle, net.ErrClosed after Close,
// the cause of its context, or what happened to its socket; nil before.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close ends the association and waits until it holds nothing any more.
func (a *Association) Close() {
	a.end(net.ErrClosed)
	<-a.done
}

// end makes all goroutines return.
func (a *Association) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return
	}
	a.err = err
	a.cancel()
	a.unwatch()
	if a.idle != nil {
		a.idle.Stop()
	}
	a.client.Close()
	for _, s := range a.servers {
		s.Close()
	}
}

// checkIdle runs when the association would be idle if nothing had happened
// since the last time it ran.
func (a *Association) checkIdle() {
	quiet := time.Since(a.begun) - time.Duration(a.last.Load())
	if quiet >= a.config.Idle {
		a.end(ErrIdle)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.idle.Reset(a.config.Idle - quiet)
	}
}

// mayMove asks the meter for a datagram.
func (a *Association) mayMove(direction int) bool {
	if a.config.Meter == nil {
		return true
	}
	n, _ := a.config.Meter.Allow(direction, time.Now())
	return n > 0
}

// moved counts a datagram that was forwarded.
func (a *Association) moved(direction, bytes int) {
	a.counters.moved[direction].count(bytes)
	if a.config.Meter != nil {
		a.config.Meter.Moved(direction, uint64(bytes), time.Now())
	}
	a.touch()
}

func (a *Association) touch() { a.last.Store(int64(time.Since(a.begun))) }

func (a *Association) drop(d Drop) { a.counters.drops[d].Add(1) }
