// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplyCode(t *testing.T) {
	tests := []struct {
		err  error
		want Code
	}{
		{nil, Succeeded},
		{errors.New("anything"), GeneralFailure},
		{unix.EMFILE, GeneralFailure},
		{ErrMalformed, GeneralFailure},
		{ErrNotAllowed, NotAllowed},
		{unix.EPERM, NotAllowed},
		{unix.EACCES, NotAllowed},
		{unix.ENETUNREACH, NetworkUnreachable},
		{unix.ENETDOWN, NetworkUnreachable},
		{unix.EHOSTUNREACH, HostUnreachable},
		{unix.EHOSTDOWN, HostUnreachable},
		{&net.DNSError{IsNotFound: true}, HostUnreachable},
		{&net.DNSError{IsTimeout: true, UnwrapErr: context.DeadlineExceeded}, HostUnreachable},
		{ErrName, HostUnreachable},
		{unix.ECONNREFUSED, ConnectionRefused},
		{unix.ETIMEDOUT, TTLExpired},
		{context.DeadlineExceeded, TTLExpired},
		{os.ErrDeadlineExceeded, TTLExpired},
		{ErrCommand, CommandNotSupported},
		{ErrAddressType, AddressTypeNotSupported},
		{unix.EAFNOSUPPORT, AddressTypeNotSupported},
		{&ReplyError{Code: 0x5b}, 0x5b},
		{errors.Join(unix.ENETUNREACH, unix.ECONNREFUSED), ConnectionRefused},
	}
	for _, tt := range tests {
		wrapped := tt.err
		if wrapped != nil {
			wrapped = fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: tt.err})
		}
		if got := ReplyCode(wrapped); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestReplyErrorsComeBackAsTheirCode(t *testing.T) {
	for c := GeneralFailure; c <= AddressTypeNotSupported; c++ {
		refusal := &ReplyError{Code: c}
		if got := ReplyCode(refusal); got != c {
			t.Errorf("%d became %d", c, got)
		}
		if cause := refusal.Unwrap(); cause != nil && ReplyCode(cause) != c {
			t.Errorf("%v has code %d, came from %d", cause, ReplyCode(cause), c)
		}
		if strings.Contains(c.String(), "unassigned") {
			t.Errorf("%d has no words", c)
		}
	}
}

func TestAppendReply(t *testing.T) {
	tests := []struct {
		bound netip.AddrPort
		err   error
		want  string
	}{
		{v4, nil, "\x05\x00\x00\x01\xc0\x00\x02\x07\x01\xbb"},
		{v6, nil, "\x05\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x01\xbb"},
		{netip.MustParseAddrPort("[::ffff:192.0.2.7]:443"), nil, "\x05\x00\x00\x01\xc0\x00\x02\x07\x01\xbb"},
		{netip.AddrPort{}, nil, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		{v4, unix.ECONNREFUSED, "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	}
	for _, tt := range tests {
		if got := AppendReply([]byte("before"), tt.bound, tt.err); string(got) != "before"+tt.want {
			t.Errorf("%s, %v: %x, want %x", tt.bound, tt.err, got, tt.want)
		}
	}
}

func TestParseName(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for _, name := range []string{"localhost", "a.b", "www.example.com.", "_sip._tcp.example", "xn--bcher-kva.example", "1.2.3", label63 + ".example", strings.Repeat("a.", 126) + "a"} {
		if ip, err := ParseName(name); err != nil || ip.IsValid() {
			t.Errorf("%q: %s, %v", name, ip, err)
		}
	}
	for name, want := range map[string]error{
		"": ErrName, ".": ErrName, "..": ErrName, ".a": ErrName, "a..b": ErrName, "a..": ErrName,
		"a b": ErrName, "a\x00": ErrName, "a/b": ErrName, "bücher.example": ErrName, "[::1]": ErrName, "a:80": ErrName,
		label63 + "a.example": ErrName, strings.Repeat("a.", 127) + "a": ErrName, "fe80::1%1": ErrAddressType,
	} {
		if ip, err := ParseName(name); !errors.Is(err, want) {
			t.Errorf("%q: %s, %v, want %v", name, ip, err, want)
		}
	}
	for name, want := range map[string]string{"127.0.0.1": "127.0.0.1", "::1": "::1", "::ffff:10.0.0.1": "10.0.0.1"} {
		if ip, err := ParseName(name); err != nil || ip.String() != want {
			t.Errorf("%q: %s, %v", name, ip, err)
		}
	}
}
