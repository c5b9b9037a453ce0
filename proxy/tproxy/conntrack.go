// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Messages and attributes of ctnetlink
// (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	ctGet = 1 // IPCTNL_MSG_CT_GET

	ctTupleOrig  = 1 // CTA_TUPLE_ORIG
	ctTupleReply = 2 // CTA_TUPLE_REPLY

	ctTupleIP    = 1 // CTA_TUPLE_IP
	ctTupleProto = 2 // CTA_TUPLE_PROTO

	ctIPv4Source, ctIPv4Destination = 1, 2
	ctIPv6Source, ctIPv6Destination = 3, 4

	ctProtoNumber, ctProtoSource, ctProtoDestination = 1, 2, 3
)

const sizeofNfgenmsg = 4 // struct nfgenmsg

var errShort = errors.New("connection tracking: answer too short")

// trackedDestination asks the kernel's connection tracking for the destination
// before translation. Answers to the redirected connection go from local to
// remote.
func trackedDestination(fd int, local netip.AddrPort) (netip.AddrPort, error) {
	remote, err := mptcp.RemoteAddr(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	tuple, err := encodeReply(local, remote)
	if err != nil {
		return netip.AddrPort{}, err
	}
	family := byte(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	answer, err := ask(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ctGet, Flags: netlink.Request},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, tuple...),
	})
	switch {
	case errors.Is(err, unix.EPERM):
		return netip.AddrPort{}, ErrPermission
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("connection tracking: %w", err)
	case len(answer) < sizeofNfgenmsg:
		return netip.AddrPort{}, errShort
	}
	return decodeOriginal(answer[sizeofNfgenmsg:])
}

// ask sends a request to netfilter and returns the data of the one answer. The
// netlink library cannot do it: the kernel marks the answer as one of several
// (NLM_F_MULTI), and sends no other.
func ask(request netlink.Message) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	request.Header.Length = unix.NLMSG_HDRLEN + uint32(len(request.Data))
	b, err := request.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	// The answer is there when sending returns.
	b = make([]byte, unix.Getpagesize())
	n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	var answer netlink.Message
	if err := answer.UnmarshalBinary(b[:n]); err != nil {
		return nil, err
	}
	if answer.Header.Type == netlink.Error {
		if len(answer.Data) < 4 {
			return nil, errShort
		}
		return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(answer.Data)))
	}
	return answer.Data, nil
}

// encodeReply makes the attributes that name a connection by its answers.
func encodeReply(from, to netip.AddrPort) ([]byte, error) {
	source, destination := uint16(ctIPv4Source), uint16(ctIPv4Destination)
	if from.Addr().Is6() {
		source, destination = ctIPv6Source, ctIPv6Destination
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(ctTupleReply, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(ctTupleIP, func(ip *netlink.AttributeEncoder) error {
			ip.Bytes(source, from.Addr().AsSlice())
			ip.Bytes(destination, to.Addr().AsSlice())
			return nil
		})
		tuple.Nested(ctTupleProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(ctProtoNumber, unix.IPPROTO_TCP)
			proto.Uint16(ctProtoSource, from.Port())
			proto.Uint16(ctProtoDestination, to.Port())
			return nil
		})
		return nil
	})
	return e.Encode()
}

// decodeOriginal reads the destination of the original direction.
func decodeOriginal(attributes []byte) (netip.AddrPort, error) {
	var addr netip.Addr
	var port uint16
	d, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("connection tracking: %w", err)
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		if d.Type() != ctTupleOrig {
			continue
		}
		d.Nested(func(tuple *netlink.AttributeDecoder) error {
			for tuple.Next() {
				switch tuple.Type() {
				case ctTupleIP:
					tuple.Nested(func(ip *netlink.AttributeDecoder) error {
						for ip.Next() {
							if t := ip.Type(); t == ctIPv4Destination || t == ctIPv6Destination {
								addr, _ = netip.AddrFromSlice(ip.Bytes())
							}
						}
						return nil
					})
				case ctTupleProto:
					tuple.Nested(func(proto *netlink.AttributeDecoder) error {
						for proto.Next() {
							if proto.Type() == ctProtoDestination {
								port = proto.Uint16()
							}
						}
						return nil
					})
				}
			}
			return nil
		})
	}
	if err := d.Err(); err != nil {
		return netip.AddrPort{}, fmt.Errorf("connection tracking: %w", err)
	}
	if !addr.IsValid() || port == 0 {
		return netip.AddrPort{}, errors.New("connection tracking: answer without an original destination")
	}
	return netip.AddrPortFrom(addr, port), nil
}
