// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// unhurriedCPE leaves the first SYN with MPTCP to a client.
var unhurriedCPE = strings.Replace(cpe, "    when-down: refuse\n", "    when-down: refuse\n    fast-open: false\n    health: {interval: 1h}\n", 1)

// TestWhyTCP breaks MPTCP on the way to the aggregator in all ways that are told
// from each other. Clients are served every time.
func TestWhyTCP(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 100_000, aggregator, unhurriedCPE)
	shell(t, h.CPE, "sysctl -qw net.mptcp.syn_retrans_before_tcp_fallback=0 net.mptcp.blackhole_timeout=60")
	const syn = "tcp dport 8803 tcp flags & (syn|ack) == syn "
	for _, test := range []struct{ rule, before, want string }{
		{"", "", "yes"},
		{syn + "tcp option mptcp exists drop;", "", "syn_dropped"},
		{"", "", "blackhole"}, // the way is good again, and still the kernel does not ask
		{syn + "reset tcp option mptcp;", "sysctl -qw net.mptcp.blackhole_timeout=0", "peer_tcp"},
		{"tcp dport 8803 tcp flags & syn == 0 reset tcp option mptcp;", "", "fallback"},
	} {
		if test.before != "" {
			shell(t, h.CPE, test.before)
		}
		words := []string{"connection ended", "listener=lan", "upstream=hag/192.0.2.1:8803", "server_mptcp=" + test.want}
		if logged(h.cpe, words...) {
			t.Fatalf("%s before its time:\n%s", test.want, h.cpe.Log)
		}
		nft(t, h.Aggregator, "table inet middlebox\ndelete table inet middlebox\ntable inet middlebox { chain in { type filter hook prerouting priority raw; "+test.rule+" }; }")
		fetch(t, h.Client, h.web, h.v4)
		awaitLog(t, h.cpe, words...)
	}
}
