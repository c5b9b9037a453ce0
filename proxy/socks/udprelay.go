// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDatagram is more than the payload of any datagram over IPv4 or IPv6.
const maxDatagram = 1 << 16

// run forwards what the client sends. The goroutines of running are started
// from here and from one another.
func (a *Association) run() {
	defer close(a.done)
	a.receive(a.client, a.fromClient)
	a.running.Wait()
}

// receive hands every datagram to handle until the socket is closed. In front
// of the datagram, which begins at maxDatagramHeader, there is room for a
// header. The buffer is borrowed when something is there to be read.
func (a *Association) receive(conn *net.UDPConn, handle func(b []byte, from netip.AddrPort)) {
	raw, err := conn.SyscallConn()
	if err != nil {
		a.end(fmt.Errorf("socks: receive datagrams: %w", err))
		return
	}
	var (
		buf     *[maxDatagramHeader + maxDatagram]byte
		n       int
		from    unix.Sockaddr
		failure error
	)
	read := func(fd uintptr) bool {
		buf = a.buffers.Get().(*[maxDatagramHeader + maxDatagram]byte)
		for {
			n, from, failure = unix.Recvfrom(int(fd), buf[maxDatagramHeader:], 0)
			if failure != unix.EINTR {
				break
			}
		}
		if failure == unix.EAGAIN {
			a.buffers.Put(buf)
			return false
		}
		return true
	}
	for {
		if err := raw.Read(read); err != nil {
			a.end(fmt.Errorf("socks: receive datagrams: %w", err))
			return
		}
		if failure == nil {
			handle(buf[:maxDatagramHeader+n], addrPort(from))
		}
		a.buffers.Put(buf)
		if failure != nil {
			a.end(fmt.Errorf("socks: receive datagrams: %w", failure))
			return
		}
	}
}

// addrPort converts the source of a datagram. A zone stays: it is needed to
// answer a client on the link.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// fromClient forwards a datagram that has arrived on the client's side.
func (a *Association) fromClient(b []byte, from netip.AddrPort) {
	b = b[maxDatagramHeader:]
	sender := a.sender.Load()
	told := a.config.Client.Port()
	switch {
	case from.Addr().WithZone("") != a.config.Peer.WithZone(""),
		sender == nil && told != 0 && told != from.Port(),
		sender != nil && *sender != from:
		a.drop(DropForeign)
		return
	}
	payload, to, name, err := parseDatagram(b)
	switch {
	case errors.Is(err, errFragment):
		a.drop(DropFragment)
		return
	case err != nil:
		a.drop(DropMalformed)
		return
	}
	if sender == nil {
		a.sender.Store(&from)
	}
	if !a.mayMove(Up) {
		a.drop(DropRate)
		return
	}
	if name != nil {
		a.sendToName(name, payload, to.Port())
		return
	}
	_ = a.send(to, payload, true)
}

// send sends to a server. A failure is counted only when it is the last word
// on the datagram.
func (a *Association) send(to netip.AddrPort, payload []byte, last bool) error {
	d, err := a.trySend(to, payload)
	if err == nil {
		a.moved(Up, len(payload))
	} else if last {
		a.drop(d)
	}
	return err
}

func (a *Association) trySend(to netip.AddrPort, payload []byte) (Drop, error) {
	ip := to.Addr()
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || to.Port() == 0 {
		return DropDenied, ErrTarget
	}
	if a.config.Allow != nil {
		if err := a.config.Allow(to); err != nil {
			return DropDenied, err
		}
	}
	conn, err := a.server(to)
	if err != nil {
		return DropUnsendable, err
	}
	a.contacts.add(ip)
	if _, err := conn.WriteToUDPAddrPort(payload, to); err != nil {
		return DropUnsendable, err
	}
	return 0, nil
}

// server returns the socket towards the servers of a family, which is made
// when the first of them is sent to.
func (a *Association) server(to netip.AddrPort) (*net.UDPConn, error) {
	v4 := to.Addr().Is4()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return nil, a.err
	}
	if conn := a.servers[v4]; conn != nil {
		return conn, nil
	}
	network, source := "udp6", a.config.Source6
	if v4 {
		network, source = "udp4", a.config.Source4
	}
	address := ":0"
	if source.IsValid() {
		address = netip.AddrPortFrom(source, 0).String()
	}
	lc := net.ListenConfig{Control: a.config.Control}
	pc, err := lc.ListenPacket(a.ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("socks: socket for datagrams: %w", err)
	}
	conn := pc.(*net.UDPConn)
	if err := forbidBroadcast(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("socks: socket for datagrams: %w", err)
	}
	a.servers[v4] = conn
	if a.config.KeepSources {
		a.sources = append(a.sources, a.sourceOf(conn, network, to))
	}
	a.running.Go(func() { a.receive(conn, a.fromServer) })
	return conn, nil
}

// sourceOf returns the address that a server sees. The kernel chooses that of a
// socket without one for each datagram; a connected socket tells which.
func (a *Association) sourceOf(conn *net.UDPConn, network string, to netip.AddrPort) netip.AddrPort {
	source := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if !source.Addr().IsUnspecified() {
		return source
	}
	d := net.Dialer{Control: a.config.Control}
	probe, err := d.DialContext(a.ctx, network, to.String())
	if err != nil {
		return source // the port at least
	}
	defer probe.Close()
	return netip.AddrPortFrom(probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), source.Port())
}

// forbidBroadcast takes back what package net allows every socket: which
// addresses are broadcast addresses of a network only the kernel knows.
func forbidBroadcast(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
	})
	return errors.Join(err, failure)
}

// fromServer forwards a datagram to the client, with its header put in front.
func (a *Association) fromServer(b []byte, from netip.AddrPort) {
	from = netip.AddrPortFrom(from.Addr().WithZone(""), from.Port())
	client := a.sender.Load()
	if client == nil || !a.contacts.has(from.Addr()) {
		a.drop(DropUnsolicited)
		return
	}
	if !a.mayMove(Down) {
		a.drop(DropRate)
		return
	}
	start := 0
	if from.Addr().Is4() {
		start = maxDatagramHeader - (3 + 1 + 4 + 2)
	}
	appendDatagramHeader(b[:start], from)
	if _, err := a.client.WriteToUDPAddrPort(b[start:], *client); err != nil {
		a.drop(DropUnsendable)
		return
	}
	a.moved(Down, len(b)-maxDatagramHeader)
}
