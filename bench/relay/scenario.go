// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

// scenario is one table of the report.
type scenario struct {
	report.Scenario
	workload load.Workload
	streams  int
	mptcp    bool
}

// bulk tells whether few large transfers are all there is.
func (s *scenario) bulk() bool { return s.workload == load.BulkUp || s.workload == load.BulkDown }

// parallel is how many connections are opened at a time.
const parallel = 64

func scenarios() []scenario {
	leg := map[bool]string{true: "mptcp", false: "tcp"}
	spoken := map[bool]string{true: "MPTCP", false: "TCP"}
	var all []scenario
	add := func(kind report.Kind, w load.Workload, streams int, mptcp bool, name, title string) {
		all = append(all, scenario{
			Scenario: report.Scenario{Name: name + "-" + leg[mptcp], Title: title + ", " + spoken[mptcp] + " to the client", Kind: kind},
			workload: w, streams: streams, mptcp: mptcp,
		})
	}
	for _, mptcp := range []bool{true, false} {
		add(report.Bulk, load.BulkUp, 1, mptcp, "bulk-up", "1 connection, client to server")
		add(report.Bulk, load.BulkDown, 1, mptcp, "bulk-down", "1 connection, server to client")
	}
	add(report.Bulk, load.BulkUp, 8, true, "bulk8-up", "8 connections, client to server")
	add(report.Bulk, load.BulkDown, 8, true, "bulk8-down", "8 connections, server to client")
	for _, mptcp := range []bool{true, false} {
		add(report.Connections, load.Connections, parallel, mptcp, "connections",
			fmt.Sprintf("new connections with 1 KB request and answer, %d at a time", parallel))
	}
	for _, mptcp := range []bool{true, false} {
		add(report.Tunnels, load.Tunnels, 0, mptcp, "idle", "idle tunnels")
	}
	return all
}

// chooseScenarios keeps those whose name begins with one of the names.
func chooseScenarios(names string) ([]scenario, error) {
	all := scenarios()
	if names == "" {
		return all, nil
	}
	var chosen []scenario
	used := map[string]bool{}
	for _, s := range all {
		for name := range strings.SplitSeq(names, ",") {
			if strings.HasPrefix(s.Name, strings.TrimSpace(name)) {
				chosen = append(chosen, s)
				used[name] = true
				break
			}
		}
	}
	for name := range strings.SplitSeq(names, ",") {
		if !used[name] {
			return nil, fmt.Errorf("no scenario has a name that begins with %q", name)
		}
	}
	return chosen, nil
}
