// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// set is a named set of nftables.
type set struct {
	name     string
	datatype nftables.SetDatatype
	ranges   bool // elements are ranges (flag interval)
	native   bool // keys are in the byte order of the host
	elements []element
}

type element struct {
	text  string
	first []byte
	// next is what comes after the last key of a range; nil if there is nothing.
	next []byte
}

// prefixSet holds the prefixes of one family.
func prefixSet(name string, v6 bool, ps []netip.Prefix) *set {
	s := &set{name: name + "4", datatype: nftables.TypeIPAddr, ranges: true}
	if v6 {
		s.name, s.datatype = name+"6", nftables.TypeIP6Addr
	}
	for _, p := range widest(ofFamily(ps, v6)) {
		e := element{text: p.String(), first: p.Addr().AsSlice()}
		if next := last(p).Next(); next.IsValid() {
			e.next = next.AsSlice()
		}
		s.elements = append(s.elements, e)
	}
	return s
}

func ofFamily(ps []netip.Prefix, v6 bool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(ps), func(p netip.Prefix) bool { return p.Addr().Is6() != v6 })
}

// widest sorts prefixes and drops those that lie within others: the kernel
// refuses elements that overlap.
func widest(ps []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ps, netip.Prefix.Compare)
	kept := ps[:0]
	for _, p := range ps {
		if n := len(kept); n == 0 || !kept[n-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen())
}

// portSet holds ranges of ports.
func portSet(name string, ports []policy.PortRange) *set {
	s := &set{name: name, datatype: nftables.TypeInetService, ranges: true}
	for _, r := range merged(ports) {
		e := element{text: r.String(), first: binary.BigEndian.AppendUint16(nil, r.From)}
		if r.To < 1<<16-1 {
			e.next = binary.BigEndian.AppendUint16(nil, r.To+1)
		}
		s.elements = append(s.elements, e)
	}
	return s
}

// merged sorts ranges and joins those that overlap or touch.
func merged(ports []policy.PortRange) []policy.PortRange {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b policy.PortRange) int { return int(a.From) - int(b.From) })
	var joined []policy.PortRange
	for _, r := range ports {
		if n := len(joined); n > 0 && int(r.From) <= int(joined[n-1].To)+1 {
			joined[n-1].To = max(joined[n-1].To, r.To)
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// interfaceSet holds names of interfaces.
func interfaceSet(name string, interfaces []string) *set {
	s := &set{name: name, datatype: nftables.TypeIFName, native: true}
	for _, i := range unique(interfaces) {
		key := make([]byte, unix.IFNAMSIZ)
		copy(key, i)
		s.elements = append(s.elements, element{text: strconv.Quote(i), first: key})
	}
	return s
}

// macSet holds link-layer addresses.
func macSet(name string, macs []MAC) *set {
	s := &set{name: name, datatype: nftables.TypeEtherAddr}
	macs = slices.Clone(macs)
	slices.SortFunc(macs, func(a, b MAC) int { return bytes.Compare(a[:], b[:]) })
	for _, m := range slices.Compact(macs) {
		s.elements = append(s.elements, element{text: net.HardwareAddr(m[:]).String(), first: m[:]})
	}
	return s
}

// addressTypeSet holds the types of destination addresses that are not other
// machines'.
func addressTypeSet(name string) *set {
	s := &set{name: name, datatype: nftables.TypeFIBAddr, native: true}
	for _, t := range []struct {
		text  string
		value uint32
	}{{"local", unix.RTN_LOCAL}, {"broadcast", unix.RTN_BROADCAST}, {"anycast", unix.RTN_ANYCAST}, {"multicast", unix.RTN_MULTICAST}} {
		s.elements = append(s.elements, element{text: t.text, first: binaryutil.NativeEndian.PutUint32(t.value)})
	}
	return s
}

func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// nft makes the set as the library wants it.
func (s *set) nft(t *nftables.Table, id uint32) *nftables.Set {
	n := &nftables.Set{Table: t, ID: id, Name: s.name, KeyType: s.datatype, Interval: s.ranges, KeyByteOrder: binaryutil.BigEndian}
	if s.native {
		n.KeyByteOrder = binaryutil.NativeEndian
	}
	return n
}

// nftElements are the elements as the library wants them.
func (s *set) nftElements() []nftables.SetElement {
	var es []nftables.SetElement
	for _, e := range s.elements {
		es = append(es, nftables.SetElement{Key: e.first})
		if s.ranges && e.next != nil {
			es = append(es, nftables.SetElement{Key: e.next, IntervalEnd: true})
		}
	}
	return es
}

func (s *set) String() string { return "@" + s.name }
