// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/reference"
)

const aboutTandem = "tandem run, one event loop per CPU; no limit to connections that wait for their server (1024 of one source by default)"

// prometheusPorts is how far above its listener a tandem that tells has metrics.
const prometheusPorts = 1000

// copy runs the reference.
func (t Tools) copy(s Setup) (command, error) {
	program, args := t.Child(reference.CopyChild, s.Listen.String(), s.Target.String(), strconv.FormatBool(s.MPTCP))
	return command{program: program, args: args}, nil
}

func (t Tools) tandem(front Front, telling bool) func(Setup) (command, error) {
	return func(s Setup) (command, error) {
		mode := "off"
		if s.MPTCP {
			mode = "on"
		}
		config := []string{
			"log: {level: warn}",
			"drain-timeout: 0s",
			`admin: {socket: ""}`,
			// All clients have one address here; the others have no such limit.
			"limits: {per-source: {pending: 0}}",
			"listeners:",
			"  - name: relay",
			"    type: " + string(front),
			fmt.Sprintf("    listen: [%q]", s.Listen),
			"    mptcp: " + mode,
			"    allow-from: [0.0.0.0/0]",
		}
		if telling {
			config = append([]string{
				"telemetry:",
				fmt.Sprintf("  prometheus: {listen: [%q]}", netip.AddrPortFrom(s.Listen.Addr(), s.Listen.Port()+prometheusPorts)),
				fmt.Sprintf("  otlp: {endpoint: http://%s, interval: 1s}", netip.AddrPortFrom(s.Target.Addr(), load.CollectorPort)),
				"  traces: {ratio: 0.01}",
				"records: {file: {path: records.json}}",
			}, config...)
		}
		if front == Forward {
			config = append(config, fmt.Sprintf("    forward: {target: %q}", s.Target))
		} else {
			// The source is on the same machine here, which is denied by default.
			config = append(config, fmt.Sprintf("    destinations: {allow: [%s]}", s.Target.Addr()))
		}
		return command{
			program: t.Tandem,
			args:    []string{"run", "--config", "tandem.yaml"},
			files:   map[string]string{"tandem.yaml": lines(config...)},
		}, nil
	}
}
