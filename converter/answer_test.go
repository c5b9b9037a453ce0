// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

func TestSuccess(t *testing.T) {
	const mpCapable = "02 04 05 b4 1e 0c 01 81 01 02 03 04 05 06 07 08"
	tests := []struct {
		name, synack string
		supported    bool
		want         string
	}{
		{"options not known", "", false, "01 01 22 63"},
		{"options known", "02 04 05 b4 01 03 03 0a", false, "01 04 22 63 14 03 00 00 02 04 05 b4 01 03 03 0a"},
		{"options padded", "02 04 05 b4 04 02", false, "01 04 22 63 14 03 00 00 02 04 05 b4 04 02 00 00"},
		{"keys blanked", mpCapable, false, "01 06 22 63 14 05 00 00 02 04 05 b4 1e 0c 01 81 00 00 00 00 00 00 00 00"},
		{"broken options cut", "02 04 05 b4 1e 0c 01 81", false, "01 03 22 63 14 02 00 00 02 04 05 b4"},
		{"supported asked", "", true, "01 04 22 63 15 03 00 00 03 04 08 1e 22 00 00 00"},
		{"both", "02 04 05 b4", true, "01 06 22 63 14 02 00 00 02 04 05 b4 15 03 00 00 03 04 08 1e 22 00 00 00"},
	}
	hiding := NewServer(ServerConfig{HideSYNACK: true})
	diff(t, "message that hides", unhex(t, "01 01 22 63"), hiding.Success(nil, &Request{Target: server4}, unhex(t, mpCapable), options.Set{}))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := Request{Target: server4, Supported: test.supported}
			got := testServer(nil).Success([]byte("before"), &req, unhex(t, test.synack), options.Set{})
			diff(t, "message", append([]byte("before"), unhex(t, test.want)...), got)
		})
	}
}

// What goes wrong at the converter is what the client gets to see, as far as
// it is about the server; the rest tells it whose fault it is.
func TestFailure(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("connect to %s: %w", server4, err) }
	tests := []struct {
		err      error
		v6       bool
		code     wire.ErrorCode
		value    uint8
		atClient error
	}{
		{unix.ECONNREFUSED, false, wire.ConnectionReset, 0, unix.ECONNREFUSED},
		{unix.ECONNRESET, true, wire.ConnectionReset, 0, unix.ECONNREFUSED},
		{unix.ENETUNREACH, false, wire.DestinationUnreachable, 0, unix.ENETUNREACH},
		{unix.ENETUNREACH, true, wire.DestinationUnreachable, 0, unix.ENETUNREACH},
		{unix.EHOSTUNREACH, false, wire.DestinationUnreachable, 1, unix.EHOSTUNREACH},
		{unix.EHOSTUNREACH, true, wire.DestinationUnreachable, 3, unix.EHOSTUNREACH},
		{unix.ENOPROTOOPT, false, wire.DestinationUnreachable, 2, unix.ENOPROTOOPT},
		{unix.EHOSTDOWN, false, wire.DestinationUnreachable, 7, unix.EHOSTDOWN},
		{unix.ENONET, false, wire.DestinationUnreachable, 8, unix.ENONET},
		{unix.EACCES, false, wire.DestinationUnreachable, 13, unix.EHOSTUNREACH},
		{unix.EACCES, true, wire.DestinationUnreachable, 1, unix.EACCES},
		{unix.EPERM, true, wire.DestinationUnreachable, 1, unix.EACCES},
		{unix.EAFNOSUPPORT, true, wire.DestinationUnreachable, 0, unix.ENETUNREACH},
		{unix.EINVAL, true, wire.DestinationUnreachable, 0, unix.ENETUNREACH},
		{unix.ETIMEDOUT, false, wire.DestinationUnreachable, 1, unix.EHOSTUNREACH},
		{unix.ETIMEDOUT, true, wire.DestinationUnreachable, 3, unix.EHOSTUNREACH},
		{context.DeadlineExceeded, false, wire.DestinationUnreachable, 1, unix.EHOSTUNREACH},
		{os.ErrDeadlineExceeded, false, wire.DestinationUnreachable, 1, unix.EHOSTUNREACH},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, true, wire.DestinationUnreachable, 3, unix.EHOSTUNREACH},
		{ErrNotAuthorized, false, wire.NotAuthorized, 0, ErrNotAuthorized},
		{ErrMalformedTarget, false, wire.MalformedMessage, 0, ErrIncompatible},
		{&UnsupportedOptionError{Kinds: []uint8{28}}, false, wire.UnsupportedTCPOption, 28, ErrUnsupportedOption},
		{ErrResources, false, wire.ResourceExceeded, 0, ErrResources},
		{unix.EMFILE, false, wire.ResourceExceeded, 0, ErrUnavailable},
		{unix.ENFILE, false, wire.ResourceExceeded, 0, ErrUnavailable},
		{unix.ENOMEM, false, wire.ResourceExceeded, 0, ErrUnavailable},
		{unix.ENOBUFS, false, wire.ResourceExceeded, 0, ErrUnavailable},
		{unix.EADDRNOTAVAIL, false, wire.ResourceExceeded, 0, ErrUnavailable},
		{ErrUnavailable, false, wire.NetworkFailure, 0, ErrUnavailable},
		// The way to the server: its errno says nothing about the server.
		{fmt.Errorf("%w: %w", ErrUnavailable, unix.ECONNREFUSED), false, wire.NetworkFailure, 0, ErrUnavailable},
		{io.ErrUnexpectedEOF, false, wire.NetworkFailure, 0, ErrUnavailable},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%v,%v", test.err, test.v6), func(t *testing.T) {
			target := server4
			if test.v6 {
				target = server6
			}
			req := Request{Target: target}
			b := testServer(nil).Failure(nil, &req, dial(test.err))
			e := parse(t, b).Error
			if e == nil || e.Code != test.code || e.Value[0] != test.value {
				t.Fatalf("answered % x, want %s with %d", b, test.code, test.value)
			}
			x, err := NewDialer(DialerConfig{}).Connect(target, Extras{})
			if err != nil {
				t.Fatal(err)
			}
			x.AppendRequest(nil, noon)
			_, _, err = x.Read(b, noon)
			var answered *Error
			if !errors.As(err, &answered) || answered.Code != test.code || !errors.Is(err, test.atClient) {
				t.Errorf("client got %v, want %v", err, test.atClient)
			}
		})
	}
}

// Codes without a meaning here go by their range, whatever comes with them.
func TestEveryErrorCode(t *testing.T) {
	for code := range 256 {
		b := []byte{1, 2, 0x22, 0x63, 30, 1, byte(code), 0xff}
		x, err := NewDialer(DialerConfig{}).Connect(server4, Extras{})
		if err != nil {
			t.Fatal(err)
		}
		x.AppendRequest(nil, noon)
		_, _, err = x.Read(b, noon)
		var want error
		switch {
		case code == 3 || code == 32:
			want = ErrNotAuthorized
		case code < 32, code > 127:
			want = ErrIncompatible
		case code == 33:
			want = ErrUnsupportedOption
		case code < 64:
			want = ErrNotAuthorized
		case code < 96:
			want = ErrUnavailable
		case code == 96:
			want = unix.ECONNREFUSED
		default:
			want = unix.EHOSTUNREACH
		}
		if !errors.Is(err, want) {
			t.Errorf("code %d: got %v, want %v", code, err, want)
		}
	}
}
