// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/tandem-gateway/tandem/bench/relay/load"
)

func (t Tools) aboutTandem() string {
	if t.Tandem == "" {
		return "its proxy engine within this program, one event loop per CPU"
	}
	return "tandem run, one event loop per CPU"
}

// reference runs a relay that is part of this program.
func (t Tools) reference(name string, args ...string) func(Setup) (command, error) {
	return func(s Setup) (command, error) {
		return command{program: t.Self, args: append([]string{
			name,
			"-listen", s.Listen.String(), "-target", s.Target.String(), "-mptcp=" + strconv.FormatBool(s.MPTCP),
		}, args...)}, nil
	}
}

func (t Tools) tandem(front Front) func(Setup) (command, error) { return t.tandemWith(front, false) }

func (t Tools) tandemWith(front Front, telling bool) func(Setup) (command, error) {
	if t.Tandem == "" {
		return t.reference("engine", "-socks5="+strconv.FormatBool(front == SOCKS5), "-profile", t.Profile)
	}
	return func(s Setup) (command, error) {
		mode := "off"
		if s.MPTCP {
			mode = "on"
		}
		config := []string{
			"log: {level: warn}",
			"drain-timeout: 0s",
			`admin: {socket: ""}`,
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
				`  prometheus: {listen: ["127.0.0.1:9464"]}`,
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
