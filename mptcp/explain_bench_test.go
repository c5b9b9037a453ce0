// SPDX-License-Identifier: Apache-2.0

package mptcp

import "testing"

// What it costs to ask why a connection is plain TCP.
func BenchmarkExplain(b *testing.B) {
	if err := Supported(); err != nil {
		b.Skip(err)
	}
	_, to := mustListen(b, loopback4, ListenOptions{Mode: ModeOff})
	c, _ := mustConnect(b, to, nil, ConnectOptions{Mode: ModePrefer})
	for b.Loop() {
		if reason, err := Explain(c); err != nil || reason != PeerTCP {
			b.Fatal(reason, err)
		}
	}
}
