// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// How long the first answer may take, the least that further ones get, and how
// many times as long as the first one they may take.
const (
	firstAnswer = 2 * time.Second
	leastAnswer = 150 * time.Millisecond
	patience    = 4
)

// pingAttempts: a single packet may be lost by chance.
const pingAttempts = 2

// pinger sends ICMP echo requests (RFC 792, RFC 4443) of given sizes from an
// address, with the order not to fragment them.
type pinger struct {
	c        *net.IPConn
	to       *net.IPAddr
	v4       bool
	id, seq  int
	wait     time.Duration
	longest  time.Duration // an answer took
	received []byte
}

func newPinger(from, to netip.Addr) (*pinger, error) {
	p := &pinger{to: &net.IPAddr{IP: to.AsSlice()}, v4: to.Is4(), id: os.Getpid() & 0xffff, wait: firstAnswer, received: make([]byte, 1<<16)}
	network, level, option, value := "ip4:icmp", unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	if !p.v4 {
		network, level, option, value = "ip6:ipv6-icmp", unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	}
	// Sizes are tried that the kernel believes to be too large.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), level, option, value) })
		return errors.Join(err, failure)
	}}
	c, err := config.ListenPacket(context.Background(), network, from.String())
	if err != nil {
		return nil, err
	}
	p.c = c.(*net.IPConn)
	return p, nil
}

func (p *pinger) close() { p.c.Close() }

// settle has further answers awaited for as long as those so far have shown to
// be needed.
func (p *pinger) settle() { p.wait = max(leastAnswer, patience*p.longest) }

// ping sends a request that makes an IP packet of a size and waits for the
// answer. The error is EMSGSIZE when this kernel or a router says that it is too
// large, and os.ErrDeadlineExceeded when nobody says anything.
func (p *pinger) ping(ctx context.Context, size int) error {
	err := os.ErrDeadlineExceeded
	for range pingAttempts {
		if failure := ctx.Err(); failure != nil {
			return failure
		}
		if err = p.once(size); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

func (p *pinger) once(size int) error {
	p.seq++
	message := icmp.Message{Type: ipv4.ICMPTypeEcho}
	headers := ipv4.HeaderLen
	if !p.v4 {
		message.Type, headers = ipv6.ICMPTypeEchoRequest, ipv6.HeaderLen
	}
	const icmpHeader = 8
	message.Body = &icmp.Echo{ID: p.id, Seq: p.seq, Data: make([]byte, size-headers-icmpHeader)}
	packet, err := message.Marshal(nil) // the kernel fills in the checksum of ICMPv6
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := p.c.WriteTo(packet, p.to); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := p.c.SetReadDeadline(began.Add(p.wait)); err != nil {
		return err
	}
	for {
		n, from, err := p.c.ReadFromIP(p.received)
		if err != nil {
			return err
		}
		if from.IP.Equal(p.to.IP) && p.answers(p.received[:n]) {
			p.longest = max(p.longest, time.Since(began))
			return nil
		}
	}
}

// answers tells whether a packet is the answer to the last request: raw sockets
// see those of others too.
func (p *pinger) answers(b []byte) bool {
	want := byte(ipv4.ICMPTypeEchoReply)
	if !p.v4 {
		want = byte(ipv6.ICMPTypeEchoReply)
	}
	return len(b) >= 8 && b[0] == want &&
		binary.BigEndian.Uint16(b[4:]) == uint16(p.id) && binary.BigEndian.Uint16(b[6:]) == uint16(p.seq)
}
