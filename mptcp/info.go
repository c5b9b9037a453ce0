// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sizeofInfo is sizeof(struct mptcp_info) on Linux 6.18. Kernels return as
// much as they know of what is asked for.
const sizeofInfo = 96

// Flags of Info.
const (
	FlagFallback          = 1 << 0 // MPTCP_INFO_FLAG_FALLBACK
	FlagRemoteKeyReceived = 1 << 1 // MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED
)

// Info is the state of an MPTCP connection: struct mptcp_info of
// linux/mptcp.h. Fields that the running kernel does not know are zero; most
// counters came with Linux 6.5, the last three with 6.10.
type Info struct {
	Subflows           uint8  // beyond the first one
	AddAddrSignal      uint8  // addresses announced to the peer
	AddAddrAccepted    uint8  // addresses of the peer accepted
	SubflowsMax        uint8  // limit of Subflows
	AddAddrSignalMax   uint8  // limit of AddAddrSignal
	AddAddrAcceptedMax uint8  // limit of AddAddrAccepted
	Flags              uint32 // FlagFallback, FlagRemoteKeyReceived
	Token              uint32 // local (RFC 8684 section 3.1)
	WriteSeq           uint64 // data sequence number of the next byte written
	SndUna             uint64 // first data sequence number the peer has not acknowledged
	RcvNxt             uint64 // data sequence number expected next
	LocalAddrUsed      uint8  // local addresses in use for subflows
	LocalAddrMax       uint8  // limit of LocalAddrUsed
	ChecksumEnabled    bool   // DSS checksums (RFC 8684 section 3.3)
	Retransmits        uint32 // retransmissions at the MPTCP level
	BytesRetrans       uint64 // of them
	BytesSent          uint64 // without BytesRetrans
	BytesReceived      uint64
	BytesAcked         uint64
	SubflowsTotal      uint8         // with the first one, as long as that lives
	EndpLaminarMax     uint8         // endpoints with the laminar flag
	LastDataSent       time.Duration // ago, in milliseconds
	LastDataRecv       time.Duration // ago, in milliseconds
	LastAckRecv        time.Duration // ago, in milliseconds
}

// InfoOf asks for the state of an MPTCP connection (MPTCP_INFO). The error
// wraps ErrNotNegotiated if it is plain TCP, also after a fallback: the kernel
// tells nothing more then.
func InfoOf(fd int) (Info, error) {
	var b [sizeofInfo]byte
	_, errno := getsockopt(fd, unix.SOL_MPTCP, optInfo, unsafe.Pointer(&b), uint32(len(b)))
	if errno != 0 {
		return Info{}, infoError("MPTCP_INFO", errno)
	}
	return parseInfo(&b), nil
}

// infoError says what a refusal of an option of level SOL_MPTCP means.
func infoError(option string, errno unix.Errno) error {
	if plainTCP(errno) {
		return fmt.Errorf("%s: %w", option, ErrNotNegotiated)
	}
	return fmt.Errorf("%s: %w", option, errno)
}

// plainTCP reports whether errno is how a plain TCP socket, or one that has
// fallen back, answers to an option of level SOL_MPTCP: ip_getsockopt in
// net/ipv4/ip_sockglue.c, ipv6_getsockopt in net/ipv6/ipv6_sockglue.c.
func plainTCP(errno unix.Errno) bool {
	return errors.Is(errno, unix.EOPNOTSUPP) || errors.Is(errno, unix.ENOPROTOOPT)
}

func parseInfo(b *[sizeofInfo]byte) Info {
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	return Info{
		Subflows:           b[0],
		AddAddrSignal:      b[1],
		AddAddrAccepted:    b[2],
		SubflowsMax:        b[3],
		AddAddrSignalMax:   b[4],
		AddAddrAcceptedMax: b[5],
		Flags:              u32(b[8:]),
		Token:              u32(b[12:]),
		WriteSeq:           u64(b[16:]),
		SndUna:             u64(b[24:]),
		RcvNxt:             u64(b[32:]),
		LocalAddrUsed:      b[40],
		LocalAddrMax:       b[41],
		ChecksumEnabled:    b[42] != 0,
		Retransmits:        u32(b[44:]),
		BytesRetrans:       u64(b[48:]),
		BytesSent:          u64(b[56:]),
		BytesReceived:      u64(b[64:]),
		BytesAcked:         u64(b[72:]),
		SubflowsTotal:      b[80],
		EndpLaminarMax:     b[81],
		LastDataSent:       millis(u32(b[84:])),
		LastDataRecv:       millis(u32(b[88:])),
		LastAckRecv:        millis(u32(b[92:])),
	}
}

func millis(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
func micros(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
