// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"testing"
)

// A server has the request before the third segment of the handshake has arrived,
// and answers when it has.
func TestEmbryonic(t *testing.T) {
	l, to := fastOpenNamespace(t, ModePrefer)
	o := ConnectOptions{Mode: ModePrefer, FastOpen: true}
	mustConnect(t, to, []byte("?"), o)
	mustAccept(t, l)
	nft(t, fmt.Sprintf("tcp dport %d tcp flags & syn == 0 drop;", to.Port()))
	c, _ := mustConnect(t, to, []byte("request"), o)
	s, _ := mustAccept(t, l)
	hear(t, s, "request")
	if !Embryonic(s) || Embryonic(c) {
		t.Errorf("embryonic: server %t, client %t", Embryonic(s), Embryonic(c))
	}
	nft(t, "")
	eventually(t, "the end of the handshake", func() bool { return !Embryonic(s) })
	talk(t, s, c, "answer")
	if status, err := Negotiated(s); err != nil || !status.MPTCP {
		t.Errorf("server: %+v, %v", status, err)
	}
	if Embryonic(-1) {
		t.Error("no socket is embryonic")
	}
}
