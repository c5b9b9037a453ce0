// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sizeofTCPInfo covers the fields below. struct tcp_info is longer on new
// kernels and shorter on old ones.
const sizeofTCPInfo = 248

// TCPState is the state of a TCP connection, of enum in net/tcp_states.h.
type TCPState uint8

// The states (RFC 9293 section 3.3.2).
const (
	StateEstablished TCPState = iota + 1
	StateSynSent
	StateSynReceived
	StateFinWait1
	StateFinWait2
	StateTimeWait
	StateClose
	StateCloseWait
	StateLastAck
	StateListen
	StateClosing
)

var stateNames = [...]string{"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2",
	"TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}

// String returns the name that RFC 9293 gives the state.
func (s TCPState) String() string {
	if s > 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// CongestionState is what loss recovery is doing: enum tcp_ca_state of
// linux/tcp.h.
type CongestionState uint8

// The congestion states.
const (
	CongestionOpen     CongestionState = iota // nothing unusual
	CongestionDisorder                        // duplicate or selective acknowledgements seen
	CongestionCWR                             // reducing the window after ECN or local congestion
	CongestionRecovery                        // fast retransmit
	CongestionLoss                            // after a retransmission timeout
)

var congestionNames = [...]string{"open", "disorder", "cwr", "recovery", "loss"}

// String returns the state in one word.
func (s CongestionState) String() string {
	if int(s) < len(congestionNames) {
		return congestionNames[s]
	}
	return fmt.Sprintf("congestion(%d)", uint8(s))
}

// FastOpenFailure is enum tcp_fastopen_client_fail of linux/tcp.h.
type FastOpenFailure uint8

// The failures of TCP Fast Open. Zero: it was not asked for, or worked.
const (
	FastOpenCookieUnavailable FastOpenFailure = iota + 1 // no cookie was cached
	FastOpenDataNotAcked                                 // the SYN-ACK did not acknowledge the data
	FastOpenSYNRetransmitted                             // the SYN with the data got no answer
)

// TCPInfo is the state of one TCP connection or MPTCP subflow: struct tcp_info
// of linux/tcp.h. Fields that the running kernel does not know are zero.
type TCPInfo struct {
	State           TCPState
	CongestionState CongestionState
	Retransmits     uint8 // of the segment being retransmitted now
	Probes          uint8 // unanswered window or keep-alive probes
	Backoff         uint8
	AppLimited      bool // DeliveryRate is what the application sent, not what the path can carry
	// FastOpenFailure is why Fast Open did not work on an active open.
	FastOpenFailure FastOpenFailure

	RTO           time.Duration
	ATO           time.Duration
	RTT           time.Duration // smoothed
	RTTVar        time.Duration
	MinRTT        time.Duration
	ReceiveRTT    time.Duration // estimated by the receiver
	LastDataSent  time.Duration // ago, in milliseconds
	LastDataRecv  time.Duration // ago, in milliseconds
	LastAckRecv   time.Duration // ago, in milliseconds
	BusyTime      time.Duration // with data to send
	RwndLimited   time.Duration // of it, waiting for the peer's window
	SndbufLimited time.Duration // of it, waiting for room in the send buffer
	RTOTime       time.Duration // spent recovering from retransmission timeouts

	SendMSS       uint32 // bytes
	ReceiveMSS    uint32 // bytes
	PathMTU       uint32 // bytes
	CWnd          uint32 // segments
	SSThresh      uint32 // segments
	SendWindow    uint32 // bytes the peer lets us send
	ReceiveWindow uint32 // bytes we let the peer send
	ReceiveSpace  uint32 // bytes
	Reordering    uint32 // segments
	Unacked       uint32 // segments
	Sacked        uint32 // segments
	Lost          uint32 // segments
	Retrans       uint32 // segments retransmitted and not acknowledged yet
	TotalRetrans  uint32 // segments retransmitted ever, SYNs too
	NotSent       uint32 // bytes
	SegmentsOut   uint32
	SegmentsIn    uint32
	Delivered     uint32 // segments
	DeliveredCE   uint32 // of them, with ECN's congestion mark
	Rehash        uint32 // times another path was tried
	Timeouts      uint16 // of retransmission, ever

	PacingRate    uint64 // bytes/s
	MaxPacingRate uint64 // bytes/s, all ones for no limit
	DeliveryRate  uint64 // bytes/s
	BytesAcked    uint64
	BytesReceived uint64
	BytesSent     uint64 // with BytesRetrans
	BytesRetrans  uint64
}

// TCPInfoOf asks for the state of a TCP connection. On an MPTCP socket the
// kernel answers for the first subflow.
func TCPInfoOf(fd int) (TCPInfo, error) {
	var b [sizeofTCPInfo]byte
	if _, errno := getsockopt(fd, unix.SOL_TCP, unix.TCP_INFO, unsafe.Pointer(&b), uint32(len(b))); errno != 0 {
		return TCPInfo{}, fmt.Errorf("TCP_INFO: %w", errno)
	}
	return parseTCPInfo(&b), nil
}

func parseTCPInfo(b *[sizeofTCPInfo]byte) TCPInfo {
	u16, u32, u64 := binary.NativeEndian.Uint16, binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	appLimited := b[7]&1 != 0
	if bigEndian {
		appLimited = b[7]>>7 != 0
	}
	return TCPInfo{
		State: TCPState(b[0]), CongestionState: CongestionState(b[1]), Retransmits: b[2], Probes: b[3], Backoff: b[4],
		AppLimited: appLimited, FastOpenFailure: fastOpenFailure(b),
		RTO: micros(u32(b[8:])), ATO: micros(u32(b[12:])), SendMSS: u32(b[16:]), ReceiveMSS: u32(b[20:]),
		Unacked: u32(b[24:]), Sacked: u32(b[28:]), Lost: u32(b[32:]), Retrans: u32(b[36:]),
		LastDataSent: millis(u32(b[44:])), LastDataRecv: millis(u32(b[52:])), LastAckRecv: millis(u32(b[56:])),
		PathMTU: u32(b[60:]), RTT: micros(u32(b[68:])), RTTVar: micros(u32(b[72:])),
		SSThresh: u32(b[76:]), CWnd: u32(b[80:]), Reordering: u32(b[88:]),
		ReceiveRTT: micros(u32(b[92:])), ReceiveSpace: u32(b[96:]), TotalRetrans: u32(b[100:]),
		PacingRate: u64(b[104:]), MaxPacingRate: u64(b[112:]), BytesAcked: u64(b[120:]), BytesReceived: u64(b[128:]),
		SegmentsOut: u32(b[136:]), SegmentsIn: u32(b[140:]), NotSent: u32(b[144:]), MinRTT: micros(u32(b[148:])),
		DeliveryRate: u64(b[160:]), BusyTime: micros64(u64(b[168:])), RwndLimited: micros64(u64(b[176:])),
		SndbufLimited: micros64(u64(b[184:])), Delivered: u32(b[192:]), DeliveredCE: u32(b[196:]),
		BytesSent: u64(b[200:]), BytesRetrans: u64(b[208:]), SendWindow: u32(b[228:]), ReceiveWindow: u32(b[232:]),
		Rehash: u32(b[236:]), Timeouts: u16(b[240:]), RTOTime: millis(u32(b[244:])),
	}
}

// fastOpenFailureEnd is how much of a struct tcp_info holds that field.
const fastOpenFailureEnd = 8

func fastOpenFailure(b *[sizeofTCPInfo]byte) FastOpenFailure {
	if bigEndian {
		return FastOpenFailure(b[7] >> 5 & 3)
	}
	return FastOpenFailure(b[7] >> 1 & 3)
}

func micros64(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

// bigEndian: C bit-fields are laid out from the other end.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1
