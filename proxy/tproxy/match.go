// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// match is one condition of a rule in three forms that say the same: nft's
// syntax, the kernel's expressions, and a predicate for Explain.
type match struct {
	text  string
	exprs []expr.Any
	// holds reports whether a flow matches and, where there is a list of what
	// is looked for, what in it.
	holds func(*Flow) (detail string, ok bool)
	set   *set // that exprs refer to; may be nil
}

func plainly(holds func(*Flow) bool) func(*Flow) (string, bool) {
	return func(f *Flow) (string, bool) { return "", holds(f) }
}

// Offsets of fields in headers, in bytes.
const (
	ipv4DSCP, ipv4Source, ipv4Destination = 1, 12, 16
	ipv6DSCP, ipv6Source, ipv6Destination = 0, 8, 24
	portDestination                       = 2 // of TCP and UDP
	tcpFlags                              = 13
	etherSource                           = 6
)

func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func transport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: 1} }

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func unequal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: data} }

func lookup(s *set, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: 1, SetName: s.name, Invert: invert}
}

func operator(invert bool) string {
	if invert {
		return "!= "
	}
	return ""
}

var protocolNames = map[byte]string{
	unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "ipv6-icmp",
}

func protocol(p byte) match {
	return match{
		text:  "meta l4proto " + protocolNames[p],
		exprs: []expr.Any{meta(expr.MetaKeyL4PROTO), equal(p)},
		holds: plainly(func(f *Flow) bool { return f.protocol() == p }),
	}
}

func otherProtocol(p byte) match {
	return match{
		text:  "meta l4proto != " + protocolNames[p],
		exprs: []expr.Any{meta(expr.MetaKeyL4PROTO), unequal(p)},
		holds: plainly(func(f *Flow) bool { return f.protocol() != p }),
	}
}

// running matches segments other than the first of a connection.
func running() match {
	const (
		fin, syn, rst, ack = 1, 2, 4, 16
	)
	return match{
		text: "tcp flags & (fin | syn | rst | ack) != syn",
		exprs: []expr.Any{
			meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_TCP),
			transport(tcpFlags, 1),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
			unequal(syn),
		},
		holds: plainly(func(*Flow) bool { return false }), // a Flow is a first packet
	}
}

// transparentSocket matches packets of a connection of a local socket with
// IP_TRANSPARENT, and ICMP errors about its packets.
func transparentSocket() match {
	return match{
		text:  "socket transparent 1",
		exprs: []expr.Any{&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1}, equal(1)},
		holds: plainly(func(*Flow) bool { return false }), // there is no connection yet
	}
}

func family(v6 bool) match {
	name, number := "ipv4", byte(unix.NFPROTO_IPV4)
	if v6 {
		name, number = "ipv6", unix.NFPROTO_IPV6
	}
	return match{
		text:  "meta nfproto " + name,
		exprs: []expr.Any{meta(expr.MetaKeyNFPROTO), equal(number)},
		holds: plainly(func(f *Flow) bool { return f.ipv6() == v6 }),
	}
}

func marked(mark uint32) match {
	return match{
		text:  fmt.Sprintf("meta mark %#x", mark),
		exprs: []expr.Any{meta(expr.MetaKeyMARK), equal(binaryutil.NativeEndian.PutUint32(mark)...)},
		holds: plainly(func(f *Flow) bool { return f.Mark == mark }),
	}
}

func fromOtherInterface(s *set, interfaces []string) match {
	return match{
		text:  "iifname != " + s.String(),
		exprs: []expr.Any{meta(expr.MetaKeyIIFNAME), lookup(s, true)},
		holds: plainly(func(f *Flow) bool { return !slices.Contains(interfaces, f.Interface) }),
		set:   s,
	}
}

func fromLoopback() match {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return match{
		text:  `iifname "lo"`,
		exprs: []expr.Any{meta(expr.MetaKeyIIFNAME), equal(name...)},
		holds: plainly(func(f *Flow) bool { return f.Interface == "lo" }),
	}
}

func toNobodyElse(s *set) match {
	return match{
		text:  "fib daddr type " + s.String(),
		exprs: []expr.Any{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true}, lookup(s, false)},
		holds: plainly(func(f *Flow) bool { return f.Local }),
		set:   s,
	}
}

// fromElsewhere matches packets of a family with a source outside of prefixes.
func fromElsewhere(name string, v6 bool, ps []netip.Prefix) match {
	m := address("saddr", ipv4Source, ipv6Source, name, v6, ps, true)
	m.holds = plainly(func(f *Flow) bool {
		_, within := find(ps, f.source())
		return f.ipv6() == v6 && !within
	})
	return m
}

// to matches packets of a family with a destination within prefixes.
func to(name string, v6 bool, ps []netip.Prefix) match {
	m := address("daddr", ipv4Destination, ipv6Destination, name, v6, ps, false)
	m.holds = func(f *Flow) (string, bool) {
		if f.ipv6() != v6 {
			return "", false
		}
		return find(ps, f.destination())
	}
	return m
}

func address(field string, offset4, offset6 uint32, name string, v6 bool, ps []netip.Prefix, invert bool) match {
	s := prefixSet(name, v6, ps)
	m := match{text: "ip " + field + " " + operator(invert) + s.String(), set: s}
	load := network(offset4, net.IPv4len)
	if v6 {
		m.text = "ip6 " + field + " " + operator(invert) + s.String()
		load = network(offset6, net.IPv6len)
	}
	m.exprs = append(slices.Clone(family(v6).exprs), load, lookup(s, invert))
	return m
}

// find returns the widest prefix that holds an address.
func find(ps []netip.Prefix, a netip.Addr) (string, bool) {
	for _, p := range widest(ofFamily(ps, a.Is6())) {
		if p.Contains(a) {
			return p.String(), true
		}
	}
	return "", false
}

func toPort(name string, ports []policy.PortRange, invert bool) match {
	s := portSet(name, ports)
	ports = merged(ports)
	return match{
		text:  "th dport " + operator(invert) + s.String(),
		exprs: []expr.Any{transport(portDestination, 2), lookup(s, invert)},
		holds: func(f *Flow) (string, bool) {
			i := slices.IndexFunc(ports, func(r policy.PortRange) bool { return r.Contains(f.Destination.Port()) })
			if i < 0 || invert {
				return "", (i < 0) == invert
			}
			return ports[i].String(), true
		},
		set: s,
	}
}

// toOtherUDPPort matches datagrams to any port but this.
func toOtherUDPPort(port uint16) match {
	return match{
		text:  fmt.Sprintf("udp dport != %d", port),
		exprs: []expr.Any{meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_UDP), transport(portDestination, 2), unequal(binary.BigEndian.AppendUint16(nil, port)...)},
		holds: plainly(func(f *Flow) bool { return f.Destination.Port() != port }),
	}
}

// withDSCP matches packets of a family with a code point, the upper six bits of
// the IPv4 TOS or IPv6 Traffic Class (RFC 2474 section 3).
func withDSCP(v6 bool, value uint8) match {
	m := match{
		text:  fmt.Sprintf("ip dscp %d", value),
		exprs: family(v6).exprs,
		holds: func(f *Flow) (string, bool) { return fmt.Sprint(value), f.ipv6() == v6 && f.DSCP == value },
	}
	load, mask, data := network(ipv4DSCP, 1), []byte{0xfc}, []byte{value << 2}
	if v6 {
		// Version (4 bits), Traffic Class (8), Flow Label.
		m.text = "ip6 dscp" + m.text[len("ip dscp"):]
		load, mask, data = network(ipv6DSCP, 2), []byte{0x0f, 0xc0}, binary.BigEndian.AppendUint16(nil, uint16(value)<<6)
	}
	m.exprs = append(m.exprs, load,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))},
		equal(data...))
	return m
}

func fromMAC(name string, macs []MAC) match {
	s := macSet(name, macs)
	return match{
		text: "ether saddr " + s.String(),
		exprs: []expr.Any{
			meta(expr.MetaKeyIIFTYPE), equal(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)...),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: etherSource, Len: uint32(len(MAC{}))},
			lookup(s, false),
		},
		holds: func(f *Flow) (string, bool) {
			return net.HardwareAddr(f.MAC[:]).String(), slices.Contains(macs, f.MAC)
		},
		set: s,
	}
}
