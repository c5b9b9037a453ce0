// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/admin"
)

func TestConnectionsWithSubflows(t *testing.T) {
	at := netip.MustParseAddrPort
	connections := func(visit func(*admin.Connection) error) (bool, error) {
		for _, c := range []admin.Connection{
			{ID: 3, Client: admin.Leg{Address: at("192.168.1.2:40000"), Reason: "peer_tcp"}, Server: &admin.Leg{MPTCP: true, Token: 0xfa179161}},
			{ID: 4, Client: admin.Leg{Address: at("198.51.100.7:40000"), MPTCP: true, Token: 0xb2b95ce6}}, // no server yet
			{ID: 5, Client: admin.Leg{Address: at("198.51.100.7:40002"), MPTCP: true, Token: 1}},          // has just ended
		} {
			if err := visit(&c); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	index := subflowIndexOf([]admin.Paths{
		{Token: 0xfa179161, Initiator: true, Subflows: []admin.Subflow{
			{Local: at("198.51.100.2:50000"), Remote: at("192.0.2.1:8803"), Interface: "dsl", State: "established", RTT: 0.0205, Sent: 82, Received: 7_700_000},
			{Local: at("198.51.100.130:50001"), Remote: at("192.0.2.1:8803"), Interface: "wwan0", Network: "lte", State: "established", Backup: true, RTT: 0.04, Received: 1200},
		}},
		{Token: 0xb2b95ce6, Subflows: []admin.Subflow{{Local: at("192.0.2.1:1080"), Remote: at("198.51.100.7:40000"), State: "established", Sent: 9, Received: 10}}},
		{Token: 7, Subflows: []admin.Subflow{{State: "opening"}}}, // of a connection that the filter leaves out
	})
	var b strings.Builder
	more, err := index.printTables(&b, connections)
	if err != nil || !more {
		t.Fatalf("more %v, error %v", more, err)
	}
	_, table, _ := strings.Cut(b.String(), "\n\n")
	const want = `ID  TOWARDS  LOCAL                 REMOTE              PATH  STATE                RTT     UP    DOWN
3   server   198.51.100.2:50000    192.0.2.1:8803      dsl   established          20.5ms  82 B  7.7 MB
3   server   198.51.100.130:50001  192.0.2.1:8803      lte   established, backup  40ms    0 B   1.2 kB
4   client   192.0.2.1:1080        198.51.100.7:40000  -     established          0s      10 B  9 B
`
	if d := cmp.Diff(want, table); d != "" {
		t.Errorf("subflows (-want +got):\n%s", d)
	}
	b.Reset()
	if _, err := index.printLines(&b, connections); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, part := range []string{`"server_subflows":[{"local":"198.51.100.2:50000"`, `"client_subflows":[{"local":"192.0.2.1:1080"`, `"id":5`} {
		if !strings.Contains(lines[i], part) || strings.Count(lines[i], "_subflows") != strings.Count(part, "_subflows") {
			t.Errorf("%s: want %s", lines[i], part)
		}
	}
}
