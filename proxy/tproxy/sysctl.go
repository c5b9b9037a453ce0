// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"fmt"
	"os"
	"strings"
)

// checkSourceValidMark looks for the one sysctl that breaks interception. With
// src_valid_mark (wg-quick sets it) the kernel looks for the way back to the
// client with the packet's mark, finds our local route, and drops the packet as
// coming from itself, unless accept_local is set
// (__fib_validate_source in net/ipv4/fib_frontend.c). IPv6 has no such check.
func checkSourceValidMark(c Config) error {
	interfaces := c.Forwarded.Interfaces
	if len(interfaces) == 0 {
		interfaces = []string{"all"}
	}
	for _, name := range interfaces {
		if sysctlOn("all", "src_valid_mark") || sysctlOn(name, "src_valid_mark") {
			if !sysctlOn("all", "accept_local") && !sysctlOn(name, "accept_local") {
				return fmt.Errorf("net.ipv4.conf.*.src_valid_mark is 1, so that the kernel would drop what is intercepted on %s: run sysctl -w net.ipv4.conf.%s.accept_local=1, or switch src_valid_mark off", name, name)
			}
		}
	}
	return nil
}

// sysctlOn reads a sysctl of an interface, or of all; false if there is none.
func sysctlOn(name, key string) bool {
	value, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/" + key)
	return err == nil && strings.TrimSpace(string(value)) != "0"
}
