// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OptionSupport is what the running kernel does with one socket option. The
// errors are errnos: nil, ENOPROTOOPT and EOPNOTSUPP for options that are not
// there, EPERM for those that need privileges.
type OptionSupport struct {
	// Name is that of the option in C.
	Name string
	// Set and Read are what an MPTCP socket answers to a useful value, and
	// when it is asked for the value.
	Set, Read error
	// TCP is what a plain TCP socket answers to the same value.
	TCP error
}

// ProbeSocketOptions tries options that proxies use on new, unconnected
// sockets: those of IPv6 on IPv6 ones, all others on IPv4 ones. That the
// kernel takes an option says that it keeps the value, not what it makes of
// it. The error wraps ErrUnsupported, ErrDisabled or ErrForbidden where there
// is no MPTCP.
func ProbeSocketOptions() ([]OptionSupport, error) {
	results := make([]OptionSupport, len(probed))
	for i, o := range probed {
		r, err := o.probe()
		if err != nil {
			return nil, fmt.Errorf("probe %s: %w", o.name, err)
		}
		results[i] = r
	}
	return results, nil
}

// WriteOptionTable writes results as a table in Markdown.
func WriteOptionTable(w io.Writer, results []OptionSupport) error {
	if _, err := fmt.Fprint(w, "| option | set | read | on TCP |\n|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, r := range results {
		_, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", r.Name, answerName(r.Set), answerName(r.Read), answerName(r.TCP))
		if err != nil {
			return err
		}
	}
	return nil
}

func answerName(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, unix.EOPNOTSUPP):
		return "EOPNOTSUPP" // ENOTSUP has the same number
	case errors.As(err, &errno) && unix.ErrnoName(errno) != "":
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// probedOption is an option and a value that a TCP socket takes.
type probedOption struct {
	name          string
	level, option int
	value         []byte
}

func (o *probedOption) probe() (OptionSupport, error) {
	family := unix.AF_INET
	if o.level == unix.SOL_IPV6 {
		family = unix.AF_INET6
	}
	r := OptionSupport{Name: o.name}
	multipath, err := newSocket(family, unix.IPPROTO_MPTCP)
	if err != nil {
		return r, err
	}
	defer unix.Close(multipath)
	tcp, err := newSocket(family, unix.IPPROTO_TCP)
	if err != nil {
		return r, err
	}
	defer unix.Close(tcp)
	r.Set = unix.SetsockoptString(multipath, o.level, o.option, string(o.value))
	r.TCP = unix.SetsockoptString(tcp, o.level, o.option, string(o.value))
	var b [128]byte
	_, errno := getsockopt(multipath, o.level, o.option, unsafe.Pointer(&b), uint32(len(b)))
	r.Read = errnoErr(errno)
	return r, nil
}

// number is the value of most options.
func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// numbers is a struct of several.
func numbers(n ...uint32) (b []byte) {
	for _, v := range n {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

var probed = [...]probedOption{
	{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, number(1)},
	{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, number(1)},
	{"SO_BINDTODEVICE", unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo\x00")},
	{"SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, number(1)},
	{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, number(1)},
	{"SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, number(1)},
	{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(1)},
	{"SO_LINGER", unix.SOL_SOCKET, unix.SO_LINGER, numbers(1, 0)},
	{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, number(1 << 16)},
	{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, number(1 << 16)},
	{"SO_RCVLOWAT", unix.SOL_SOCKET, unix.SO_RCVLOWAT, number(1 << 10)},
	{"SO_INCOMING_CPU", unix.SOL_SOCKET, unix.SO_INCOMING_CPU, number(0)},
	{"SO_MAX_PACING_RATE", unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, number(1 << 20)},
	{"SO_TIMESTAMPING", unix.SOL_SOCKET, unix.SO_TIMESTAMPING, number(unix.SOF_TIMESTAMPING_SOFTWARE)},
	{"SO_ZEROCOPY", unix.SOL_SOCKET, unix.SO_ZEROCOPY, number(1)},
	{"SO_TXREHASH", unix.SOL_SOCKET, unix.SO_TXREHASH, number(1)},

	{"IP_TRANSPARENT", unix.SOL_IP, unix.IP_TRANSPARENT, number(1)},
	{"IP_FREEBIND", unix.SOL_IP, unix.IP_FREEBIND, number(1)},
	{"IP_BIND_ADDRESS_NO_PORT", unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, number(1)},
	{"IP_LOCAL_PORT_RANGE", unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, number(50000<<16 | 40000)},
	{"IP_TOS", unix.SOL_IP, unix.IP_TOS, number(0x28)},
	{"IP_TTL", unix.SOL_IP, unix.IP_TTL, number(64)},
	{"IP_MTU_DISCOVER", unix.SOL_IP, unix.IP_MTU_DISCOVER, number(unix.IP_PMTUDISC_DO)},
	{"IP_RECVERR", unix.SOL_IP, unix.IP_RECVERR, number(1)},

	{"IPV6_V6ONLY", unix.SOL_IPV6, unix.IPV6_V6ONLY, number(1)},
	{"IPV6_TRANSPARENT", unix.SOL_IPV6, unix.IPV6_TRANSPARENT, number(1)},
	{"IPV6_FREEBIND", unix.SOL_IPV6, unix.IPV6_FREEBIND, number(1)},
	{"IPV6_TCLASS", unix.SOL_IPV6, unix.IPV6_TCLASS, number(0x28)},
	{"IPV6_UNICAST_HOPS", unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, number(64)},
	{"IPV6_MTU_DISCOVER", unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, number(unix.IPV6_PMTUDISC_DO)},
	{"IPV6_RECVERR", unix.SOL_IPV6, unix.IPV6_RECVERR, number(1)},
	{"IPV6_AUTOFLOWLABEL", unix.SOL_IPV6, unix.IPV6_AUTOFLOWLABEL, number(1)},

	{"TCP_NODELAY", unix.SOL_TCP, unix.TCP_NODELAY, number(1)},
	{"TCP_CORK", unix.SOL_TCP, unix.TCP_CORK, number(1)},
	{"TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, number(60)},
	{"TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, number(10)},
	{"TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, number(3)},
	{"TCP_USER_TIMEOUT", unix.SOL_TCP, unix.TCP_USER_TIMEOUT, number(30000)},
	{"TCP_CONGESTION", unix.SOL_TCP, unix.TCP_CONGESTION, []byte("reno")},
	{"TCP_NOTSENT_LOWAT", unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, number(1 << 15)},
	{"TCP_FASTOPEN", unix.SOL_TCP, unix.TCP_FASTOPEN, number(16)},
	{"TCP_FASTOPEN_CONNECT", unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, number(1)},
	{"TCP_FASTOPEN_KEY", unix.SOL_TCP, unix.TCP_FASTOPEN_KEY, make([]byte, 16)},
	{"TCP_FASTOPEN_NO_COOKIE", unix.SOL_TCP, unix.TCP_FASTOPEN_NO_COOKIE, number(1)},
	{"TCP_DEFER_ACCEPT", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, number(1)},
	{"TCP_MAXSEG", unix.SOL_TCP, unix.TCP_MAXSEG, number(1200)},
	{"TCP_SYNCNT", unix.SOL_TCP, unix.TCP_SYNCNT, number(3)},
	{"TCP_LINGER2", unix.SOL_TCP, unix.TCP_LINGER2, number(10)},
	{"TCP_WINDOW_CLAMP", unix.SOL_TCP, unix.TCP_WINDOW_CLAMP, number(1 << 20)},
	{"TCP_QUICKACK", unix.SOL_TCP, unix.TCP_QUICKACK, number(1)},
	{"TCP_SAVE_SYN", unix.SOL_TCP, unix.TCP_SAVE_SYN, number(1)},
	{"TCP_INQ", unix.SOL_TCP, unix.TCP_INQ, number(1)},
	{"TCP_THIN_LINEAR_TIMEOUTS", unix.SOL_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, number(1)},
	{"TCP_TX_DELAY", unix.SOL_TCP, unix.TCP_TX_DELAY, number(0)},
}
