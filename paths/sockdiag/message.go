// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Names and numbers of linux/sock_diag.h, inet_diag.h and mptcp.h.
const (
	sockDiagByFamily = 20

	diagInfo    = 2  // INET_DIAG_INFO, struct tcp_info
	diagULPInfo = 19 // INET_DIAG_ULP_INFO
	ulpMPTCP    = 3  // INET_ULP_INFO_MPTCP

	attrTokenLocal = 2  // MPTCP_SUBFLOW_ATTR_TOKEN_LOC, u32
	attrFlags      = 8  // u32
	attrRemoteID   = 9  // u8
	attrLocalID    = 10 // u8

	flagCapableRemote = 1 << 0 // MPTCP_SUBFLOW_FLAG_*
	flagCapableLocal  = 1 << 1
	flagJoinLocal     = 1 << 3
	flagBackupRemote  = 1 << 4
	flagBackupLocal   = 1 << 5
	flagFully         = 1 << 6

	sizeofRequest = 56 // struct inet_diag_req_v2
	sizeofMessage = 72 // struct inet_diag_msg

	// interesting are the states of a subflow that is being opened, carries
	// data, or is being closed: neither TIME-WAIT nor listening.
	interesting = 1<<mptcp.StateEstablished | 1<<mptcp.StateSynSent | 1<<mptcp.StateFinWait1 | 1<<mptcp.StateFinWait2 |
		1<<mptcp.StateCloseWait | 1<<mptcp.StateLastAck | 1<<mptcp.StateClosing
)

// request asks for one socket, or for all with the flag Dump.
func request(family uint8, local, remote netip.AddrPort, device int, flags netlink.HeaderFlags) netlink.Message {
	b := make([]byte, sizeofRequest)
	b[0], b[1], b[2] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(b[4:], interesting)
	binary.BigEndian.PutUint16(b[8:], local.Port())
	binary.BigEndian.PutUint16(b[10:], remote.Port())
	copy(b[12:28], local.Addr().AsSlice())
	copy(b[28:44], remote.Addr().AsSlice())
	binary.NativeEndian.PutUint32(b[44:], uint32(device))
	for i := 48; i < sizeofRequest; i++ {
		b[i] = 0xff // INET_DIAG_NOCOOKIE
	}
	return netlink.Message{
		Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | flags},
		Data:   b,
	}
}

var errShort = errors.New("short message of sock_diag")

// parse reads a struct inet_diag_msg with its attributes; it is not ok if the
// socket is no MPTCP subflow.
func parse(b []byte) (s Subflow, ok bool, err error) {
	if len(b) < sizeofMessage {
		return s, false, errShort
	}
	s.State = mptcp.TCPState(b[1])
	s.Local = addrPort(b[0], b[8:24], b[4:])
	s.Remote = addrPort(b[0], b[24:40], b[6:])
	s.Interface = int(binary.NativeEndian.Uint32(b[40:]))
	ad, err := netlink.NewAttributeDecoder(b[sizeofMessage:])
	if err != nil {
		return s, false, fmt.Errorf("attributes of sock_diag: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case diagInfo:
			s.tcpInfo(ad.Bytes())
		case diagULPInfo:
			ad.Nested(func(nad *netlink.AttributeDecoder) error {
				for nad.Next() {
					if nad.Type() == ulpMPTCP {
						ok = true
						nad.Nested(s.mptcp)
					}
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return Subflow{}, false, fmt.Errorf("attributes of sock_diag: %w", err)
	}
	// A plain TCP connection that was to be MPTCP keeps the information, without
	// a token.
	return s, ok && s.Token != 0, nil
}

func (s *Subflow) mptcp(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case attrTokenLocal:
			s.Token = ad.Uint32()
		case attrFlags:
			flags := ad.Uint32()
			s.First = flags&(flagCapableLocal|flagCapableRemote) != 0
			s.Active = flags&(flagCapableLocal|flagJoinLocal) != 0
			s.Backup = flags&(flagBackupLocal|flagBackupRemote) != 0
			s.Fully = flags&flagFully != 0
		case attrRemoteID:
			s.RemoteID = ad.Uint8()
		case attrLocalID:
			s.LocalID = ad.Uint8()
		}
	}
	return nil
}

// tcpInfo reads what matters here of a struct tcp_info, as far as it goes.
func (s *Subflow) tcpInfo(b []byte) {
	u64 := func(at int) uint64 {
		if len(b) < at+8 {
			return 0
		}
		return binary.NativeEndian.Uint64(b[at:])
	}
	if len(b) >= 72 {
		s.Unacked = binary.NativeEndian.Uint32(b[24:])
		s.LastAck = time.Duration(binary.NativeEndian.Uint32(b[56:])) * time.Millisecond
		s.RTT = time.Duration(binary.NativeEndian.Uint32(b[68:])) * time.Microsecond
	}
	s.Acked, s.Received = u64(120), u64(128)
	sent, again := u64(200), u64(208)
	s.Sent = sent - min(again, sent)
}

func addrPort(family uint8, addr, port []byte) netip.AddrPort {
	n := 16
	if family == unix.AF_INET {
		n = 4
	}
	a, _ := netip.AddrFromSlice(addr[:n])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}
