// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// injector sends segments in the name of a connection's client, with whatever
// options.
type injector struct {
	t        *testing.T
	h        *lab.Host
	out      int // raw socket
	src, dst netip.AddrPort
	seq, ack uint32 // of the next segment
}

const (
	ipHeader, tcpHeader = 20, 20
	maxOptions          = 40
	flagACK             = 0x10
)

// newInjector waits until the client has sent something on a device: shake has it
// do so. It must be silent then.
func newInjector(t *testing.T, h *lab.Host, dev string, src, dst netip.AddrPort, shake func()) *injector {
	t.Helper()
	i := &injector{t: t, h: h, src: src, dst: dst, out: -1}
	in := -1
	err := h.Do(func() (err error) {
		at, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		everything := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		if in, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(everything)); err != nil {
			return err
		}
		if err := unix.Bind(in, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: at.Index}); err != nil {
			return err
		}
		if i.out, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return err
		}
		return unix.Bind(i.out, &unix.SockaddrInet4{Addr: src.Addr().As4()}) // it leaves over the device
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(i.out) })
	defer unix.Close(in)
	timeout := unix.NsecToTimeval(int64(200 * time.Millisecond))
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	shake()
	seen := false
	for b := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(in, b, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break // it is silent
		}
		seen = i.follow(b[:n]) || seen
	}
	if !seen {
		t.Fatal("the connection is not seen")
	}
	return i
}

// follow looks at a packet and reports whether it is one of the client's.
func (i *injector) follow(b []byte) bool {
	if len(b) < ipHeader || b[0]>>4 != 4 || b[9] != unix.IPPROTO_TCP {
		return false
	}
	tcp := b[int(b[0]&15)*4 : binary.BigEndian.Uint16(b[2:])]
	src, _ := netip.AddrFromSlice(b[12:16])
	if netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)) != i.src || binary.BigEndian.Uint16(tcp[2:]) != i.dst.Port() {
		return false
	}
	i.seq = binary.BigEndian.Uint32(tcp[4:]) + uint32(len(tcp)-int(tcp[12]>>4)*4)
	i.ack = binary.BigEndian.Uint32(tcp[8:])
	return true
}

// send sends a pure ACK with the options, which are padded and may be nonsense.
func (i *injector) send(options ...byte) {
	i.t.Helper()
	if len(options) > maxOptions {
		i.t.Fatalf("%d bytes of options", len(options))
	}
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	b := make([]byte, ipHeader+tcpHeader+len(options))
	src, dst := i.src.Addr().As4(), i.dst.Addr().As4()
	b[0], b[8], b[9] = 4<<4|ipHeader/4, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	tcp := b[ipHeader:]
	binary.BigEndian.PutUint16(tcp, i.src.Port())
	binary.BigEndian.PutUint16(tcp[2:], i.dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], i.seq)
	binary.BigEndian.PutUint32(tcp[8:], i.ack)
	tcp[12], tcp[13] = byte(len(tcp))/4<<4, flagACK
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	copy(tcp[tcpHeader:], options)
	binary.BigEndian.PutUint16(tcp[16:], checksum(src, dst, tcp))
	if err := unix.Sendto(i.out, b, 0, &unix.SockaddrInet4{Addr: dst}); err != nil {
		i.t.Fatal(err)
	}
}

// checksum is that of TCP over IPv4 (RFC 9293, section 3.1).
func checksum(src, dst [4]byte, tcp []byte) uint16 {
	pseudo := append(append([]byte{}, src[:]...), dst[:]...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, unix.IPPROTO_TCP), uint16(len(tcp)))
	var sum uint32
	for _, part := range [][]byte{pseudo, tcp} { // each of an even length
		for ; len(part) > 1; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
