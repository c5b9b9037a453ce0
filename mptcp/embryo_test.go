// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// A server answers before the third segment of the handshake has arrived: the
// answer has to follow when it has.
func TestPush(t *testing.T) {
	for _, noDelay := range []int{0, 1} {
		t.Run(fmt.Sprintf("TCP_NODELAY %d", noDelay), func(t *testing.T) {
			l, to := fastOpenNamespace(t, ModePrefer)
			o := ConnectOptions{Mode: ModePrefer, FastOpen: true}
			mustConnect(t, to, []byte("?"), o)
			mustAccept(t, l)
			nft(t, fmt.Sprintf("tcp dport %d tcp flags & syn == 0 drop;", to.Port()))
			c, _ := mustConnect(t, to, []byte("request"), o)
			s, _ := mustAccept(t, l)
			hear(t, s, "request")
			if err := unix.SetsockoptInt(s, unix.SOL_TCP, unix.TCP_NODELAY, noDelay); err != nil {
				t.Fatal(err)
			}
			if !Embryonic(s) || Embryonic(c) {
				t.Errorf("embryonic: server %t, client %t", Embryonic(s), Embryonic(c))
			}
			if n, err := unix.Write(s, []byte("answer")); n != 6 || err != nil {
				t.Fatal(n, err)
			}
			if err := Push(s); err != nil {
				t.Error(err)
			}
			nft(t, "")
			eventually(t, "the end of the handshake", func() bool { return !Embryonic(s) })
			if err := Push(s); err != nil {
				t.Error(err)
			}
			hear(t, c, "answer")
			if status, err := Negotiated(s); err != nil || !status.MPTCP {
				t.Errorf("server: %+v, %v", status, err)
			}
			if now, err := unix.GetsockoptInt(s, unix.SOL_TCP, unix.TCP_NODELAY); err != nil || now != noDelay {
				t.Errorf("TCP_NODELAY %d, %v", now, err)
			}
		})
	}
	if Embryonic(-1) || Push(-1) == nil {
		t.Error("no socket, and no error")
	}
}
