// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layouts of linux/mptcp.h. A struct sockaddr_storage has 128 bytes.
const (
	optTCPInfo      = 2 // MPTCP_TCPINFO
	optSubflowAddrs = 3 // MPTCP_SUBFLOW_ADDRS
	optFullInfo     = 4 // MPTCP_FULL_INFO, since Linux 6.5

	sizeofSockaddrStorage = 128
	sizeofSubflowData     = 16                        // struct mptcp_subflow_data
	sizeofSubflowAddrs    = 2 * sizeofSockaddrStorage // struct mptcp_subflow_addrs
	sizeofSubflowInfo     = 8 + sizeofSubflowAddrs    // struct mptcp_subflow_info
	sizeofFullInfo        = 40 + sizeofInfo           // struct mptcp_full_info

	// usualSubflows is how many are asked for at first.
	usualSubflows = 4
)

// errMoreSubflows: a subflow was added between two questions.
var errMoreSubflows = errors.New("subflows keep changing")

// Subflow is one TCP connection of an MPTCP connection.
type Subflow struct {
	// ID is 1 for the first subflow of the connection and grows; 0 if the
	// kernel (before 6.5) does not tell or the connection is plain TCP.
	ID            uint32
	Local, Remote netip.AddrPort
	TCP           TCPInfo
}

// Subflows lists the live subflows of a connection in the order of the
// kernel. A connection that is plain TCP, or has fallen back, is its own only
// one.
func Subflows(fd int) ([]Subflow, error) {
	s, errno, err := fullInfo(fd)
	if errno == 0 {
		return s, err
	}
	if !plainTCP(errno) {
		return nil, fmt.Errorf("MPTCP_FULL_INFO: %w", errno)
	}
	// Either this is no MPTCP connection or the kernel is older than 6.5.
	s, errno, err = olderInfo(fd)
	switch {
	case errno == 0:
		return s, err
	case plainTCP(errno):
		return single(fd)
	}
	return nil, fmt.Errorf("MPTCP_TCPINFO: %w", errno)
}

// fullInfo asks for addresses and states at once. The errno is the kernel's
// refusal of the option, err everything else.
func fullInfo(fd int) ([]Subflow, unix.Errno, error) {
	for n, tries := usualSubflows, 0; tries < 3; tries++ {
		tcp, addrs, b := make([]byte, n*sizeofTCPInfo), make([]byte, n*sizeofSubflowInfo), make([]byte, sizeofFullInfo)
		var pins runtime.Pinner
		pins.Pin(&tcp[0])
		pins.Pin(&addrs[0])
		put := binary.NativeEndian.PutUint32
		put(b[4:], sizeofTCPInfo)
		put(b[12:], sizeofSubflowInfo)
		put(b[20:], uint32(n))
		binary.NativeEndian.PutUint64(b[24:], uint64(uintptr(unsafe.Pointer(&addrs[0]))))
		binary.NativeEndian.PutUint64(b[32:], uint64(uintptr(unsafe.Pointer(&tcp[0]))))
		_, errno := getsockopt(fd, unix.SOL_MPTCP, optFullInfo, unsafe.Pointer(&b[0]), uint32(len(b)))
		pins.Unpin()
		if errno != 0 {
			return nil, errno, nil
		}
		// The kernel has put into *_user what it really used of each element.
		u32 := binary.NativeEndian.Uint32
		tcpSize, addrSize, found := int(u32(b[4:])), int(u32(b[12:])), int(u32(b[16:]))
		if found > n {
			n = found
			continue
		}
		subflows := make([]Subflow, found)
		for i := range subflows {
			subflows[i] = parseSubflow(addrs[i*addrSize+8:(i+1)*addrSize], tcp[i*tcpSize:(i+1)*tcpSize])
			subflows[i].ID = u32(addrs[i*addrSize:])
		}
		return subflows, 0, nil
	}
	return nil, 0, errMoreSubflows
}

// olderInfo is for kernels before 6.5, where it takes two questions.
func olderInfo(fd int) ([]Subflow, unix.Errno, error) {
	for range 3 {
		tcp, nTCP, tcpSize, errno := subflowData(fd, optTCPInfo, sizeofTCPInfo)
		if errno != 0 {
			return nil, errno, nil
		}
		addrs, nAddrs, addrSize, errno := subflowData(fd, optSubflowAddrs, sizeofSubflowAddrs)
		if errno != 0 {
			return nil, errno, nil
		}
		if nTCP != nAddrs || nTCP*tcpSize > len(tcp) || nAddrs*addrSize > len(addrs) {
			continue
		}
		subflows := make([]Subflow, nTCP)
		for i := range subflows {
			subflows[i] = parseSubflow(addrs[i*addrSize:(i+1)*addrSize], tcp[i*tcpSize:(i+1)*tcpSize])
		}
		return subflows, 0, nil
	}
	return nil, 0, errMoreSubflows
}

// maxSubflows bounds what olderInfo asks for: ids have eight bits.
const maxSubflows = 256

// subflowData asks for an array with one element of at most size bytes for
// each subflow. There are n elements of width bytes.
func subflowData(fd, option, size int) (data []byte, n, width int, errno unix.Errno) {
	b := make([]byte, sizeofSubflowData+maxSubflows*size)
	binary.NativeEndian.PutUint32(b[0:], sizeofSubflowData)
	binary.NativeEndian.PutUint32(b[12:], uint32(size))
	_, errno = getsockopt(fd, unix.SOL_MPTCP, option, unsafe.Pointer(&b[0]), uint32(len(b)))
	if errno != 0 {
		return nil, 0, 0, errno
	}
	n, width = int(binary.NativeEndian.Uint32(b[4:])), int(binary.NativeEndian.Uint32(b[12:]))
	return b[sizeofSubflowData:], n, width, 0
}

// parseSubflow reads a struct mptcp_subflow_addrs and a struct tcp_info.
func parseSubflow(addrs, tcp []byte) Subflow {
	var info [sizeofTCPInfo]byte
	copy(info[:], tcp)
	s := Subflow{TCP: parseTCPInfo(&info)}
	if len(addrs) >= sizeofSubflowAddrs {
		s.Local = parseSockaddr(addrs[:sizeofSockaddrStorage])
		s.Remote = parseSockaddr(addrs[sizeofSockaddrStorage:])
	}
	return s
}

func single(fd int) ([]Subflow, error) {
	var s Subflow
	var err error
	if s.Local, err = LocalAddr(fd); err != nil {
		return nil, err
	}
	if s.Remote, err = RemoteAddr(fd); err != nil {
		return nil, err
	}
	if s.TCP, err = TCPInfoOf(fd); err != nil {
		return nil, err
	}
	return []Subflow{s}, nil
}
