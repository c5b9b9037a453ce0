// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxPending is how many names an association resolves at a time, and
	// maxHeld how many datagrams wait for each of them.
	maxPending = 8
	maxHeld    = 8
	// maxKnown is how many names it remembers, keepName how long one is kept
	// after its last use: a flow stays with the address it began with.
	maxKnown = 256
	keepName = time.Minute
)

// udpNames are the names that an association's client sends to.
type udpNames struct {
	mu      sync.Mutex
	known   map[string]*knownName
	pending map[string][]held
}

type knownName struct {
	addrs []netip.Addr // the first one is in use
	used  time.Time
}

// held is a datagram that waits for the address of a name.
type held struct {
	payload []byte
	port    uint16
}

// sendToName sends a datagram to a name, which is looked up in a goroutine
// while the datagrams for it wait.
func (a *Association) sendToName(name, payload []byte, port uint16) {
	ip, err := ParseName(string(name))
	switch {
	case err != nil:
		a.drop(DropMalformed)
		return
	case ip.IsValid():
		_ = a.send(netip.AddrPortFrom(ip, port), payload, true)
		return
	case a.config.Resolve == nil:
		a.drop(DropUnresolved)
		return
	}
	n := &a.names
	n.mu.Lock()
	now := time.Now()
	if k := n.known[string(name)]; k != nil && now.Sub(k.used) <= keepName {
		k.used = now
		addrs := k.addrs
		n.mu.Unlock()
		a.sendToFirst(string(name), addrs, payload, port)
		return
	}
	defer n.mu.Unlock()
	waiting, asked := n.pending[string(name)]
	if len(waiting) >= maxHeld || !asked && len(n.pending) >= maxPending {
		a.drop(DropOverload)
		return
	}
	host := string(name)
	n.pending[host] = append(waiting, held{bytes.Clone(payload), port})
	if !asked {
		a.running.Go(func() { a.resolve(host) })
	}
}

// resolve looks a name up and sends what has waited for it.
func (a *Association) resolve(host string) {
	addrs, err := a.config.Resolve(a.ctx, host)
	n := &a.names
	n.mu.Lock()
	waiting := n.pending[host]
	delete(n.pending, host)
	if err == nil && len(addrs) > 0 {
		n.remember(host, addrs)
	}
	n.mu.Unlock()
	for _, h := range waiting {
		if err != nil || len(addrs) == 0 {
			a.drop(DropUnresolved)
			continue
		}
		a.sendToFirst(host, addrs, h.payload, h.port)
	}
}

// sendToFirst sends to the first of several addresses to which that is
// possible, and stays with it.
func (a *Association) sendToFirst(host string, addrs []netip.Addr, payload []byte, port uint16) {
	for i, ip := range addrs {
		last := i+1 == len(addrs)
		if a.send(netip.AddrPortFrom(ip, port), payload, last) != nil {
			continue
		}
		if i > 0 {
			a.names.mu.Lock()
			a.names.remember(host, addrs[i:])
			a.names.mu.Unlock()
		}
		return
	}
}

// remember keeps the addresses of a name. A full table forgets what has not
// been used for long, or else any name. n.mu is held.
func (n *udpNames) remember(host string, addrs []netip.Addr) {
	now := time.Now()
	if len(n.known) >= maxKnown {
		for name, k := range n.known {
			if now.Sub(k.used) > keepName {
				delete(n.known, name)
			}
		}
	}
	for name := range n.known {
		if len(n.known) < maxKnown {
			break
		}
		delete(n.known, name)
	}
	n.known[host] = &knownName{addrs, now}
}
