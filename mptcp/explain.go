// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Layouts of linux/inet_diag.h and linux/mptcp.h.
const (
	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg

	diagInfo         = 2  // INET_DIAG_INFO
	attrULPInfo      = 19 // INET_DIAG_ULP_INFO
	attrULPInfoMPTCP = 3  // INET_ULP_INFO_MPTCP

	attrTokenLocal = 2 // MPTCP_SUBFLOW_ATTR_TOKEN_LOC
	attrMapSeq     = 4 // MPTCP_SUBFLOW_ATTR_MAP_SEQ
	attrFlags      = 8 // MPTCP_SUBFLOW_ATTR_FLAGS

	flagCapableLocal = 1 << 1 // MPTCP_SUBFLOW_FLAG_MCAP_LOC
)

// errNoDetail: CAP_NET_ADMIN is needed in the network namespace.
var errNoDetail = errors.New("kernel told nothing about MPTCP on the socket (needs CAP_NET_ADMIN)")

// Explain finds out more about why a connection that StartConnect or Dialer
// made is not MPTCP than Negotiated can: it asks sock_diag over netlink, which
// costs several system calls and needs CAP_NET_ADMIN, and the calling thread
// must be in the network namespace of the socket. Good for logs and samples.
// The reason is None while the connection is MPTCP.
func Explain(fd int) (FallbackReason, error) {
	s, err := Negotiated(fd)
	if err != nil || s.Reason != PeerTCP {
		return s.Reason, err
	}
	protocol, err := protocolOf(fd)
	if err != nil || protocol == unix.IPPROTO_TCP {
		return s.Reason, err
	}
	d, err := diagnose(fd)
	if err != nil {
		return None, fmt.Errorf("explain fallback: %w", err)
	}
	switch {
	case d.flags&flagCapableLocal == 0 && d.token == 0:
		return Blackhole, nil
	case d.flags&flagCapableLocal == 0:
		return SYNDropped, nil
	case d.mapSeq != 0:
		return Fallback, nil
	}
	return PeerTCP, nil
}

// diagnosis is what sock_diag says about the only subflow of a connection that
// has fallen back: mptcp's subflow_get_info in net/mptcp/diag.c.
type diagnosis struct {
	flags  uint32 // flagCapableLocal: the last SYN carried MP_CAPABLE
	token  uint32 // 0: no SYN carried it
	mapSeq uint64 // 0: the peer never gave a key
}

func diagnose(fd int) (diagnosis, error) {
	request, err := diagRequest(fd)
	if err != nil {
		return diagnosis{}, err
	}
	answer, err := askDiag(request)
	if err != nil {
		return diagnosis{}, err
	}
	if len(answer) <= sizeofDiagMessage {
		return diagnosis{}, errNoDetail
	}
	return parseDiagnosis(answer[sizeofDiagMessage:])
}

// askDiag asks sock_diag about one socket. The kernel has answered when the
// request is sent, so that nothing waits, and four system calls do.
func askDiag(request []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+sizeofDiagRequest)
	binary.NativeEndian.PutUint32(message, uint32(unix.SizeofNlMsghdr+len(request)))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, append(message, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096) // more than is told of one socket
	n, _, err := unix.Recvfrom(fd, answer, unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	return readDiag(answer[:n])
}

// readDiag returns the body of an answer.
func readDiag(b []byte) ([]byte, error) {
	if len(b) < unix.SizeofNlMsghdr+4 {
		return nil, errNoDetail
	}
	body := b[unix.SizeofNlMsghdr:]
	if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
			return nil, unix.Errno(-code)
		}
		return nil, errNoDetail
	}
	return body, nil
}

// diagRequest asks for the one TCP socket with the addresses of fd.
func diagRequest(fd int) ([]byte, error) {
	local, err := LocalAddr(fd)
	if err != nil {
		return nil, err
	}
	remote, err := RemoteAddr(fd)
	if err != nil {
		return nil, err
	}
	device, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err != nil {
		return nil, fmt.Errorf("SO_BINDTOIFINDEX: %w", err)
	}
	b := make([]byte, sizeofDiagRequest)
	b[0] = byte(family(local.Addr()))
	b[1] = unix.IPPROTO_TCP
	b[2] = 1 << (diagInfo - 1) // else the kernel leaves the upper layer out as well
	binary.NativeEndian.PutUint32(b[4:], 1<<StateEstablished|1<<StateCloseWait|1<<StateFinWait1|1<<StateFinWait2)
	binary.BigEndian.PutUint16(b[8:], local.Port())
	binary.BigEndian.PutUint16(b[10:], remote.Port())
	putAddr(b[12:28], local.Addr())
	putAddr(b[28:44], remote.Addr())
	binary.NativeEndian.PutUint32(b[44:], uint32(device))
	for i := 48; i < 56; i++ {
		b[i] = 0xff // INET_DIAG_NOCOOKIE
	}
	return b, nil
}

func putAddr(b []byte, a netip.Addr) { copy(b, a.AsSlice()) }

// parseDiagnosis reads the attributes of an answer of sock_diag.
func parseDiagnosis(b []byte) (diagnosis, error) {
	var d diagnosis
	found := false
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return d, err
	}
	for ad.Next() {
		if ad.Type() != attrULPInfo {
			continue
		}
		ad.Nested(func(ulp *netlink.AttributeDecoder) error {
			for ulp.Next() {
				if ulp.Type() != attrULPInfoMPTCP {
					continue
				}
				found = true
				ulp.Nested(d.parse)
			}
			return nil
		})
	}
	if err := ad.Err(); err != nil {
		return d, err
	}
	if !found {
		return d, errNoDetail
	}
	return d, nil
}

func (d *diagnosis) parse(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case attrTokenLocal:
			d.token = ad.Uint32()
		case attrMapSeq:
			d.mapSeq = ad.Uint64()
		case attrFlags:
			d.flags = ad.Uint32()
		}
	}
	return nil
}
