// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// checkSysctls looks for what would break the delivery of marked packets.
func checkSysctls(c Config) error {
	err := checkSourceValidMark(c)
	if c.Forwarded.on() {
		err = errors.Join(err, checkSyncookies())
	}
	return err
}

// checkSyncookies refuses SYN cookies for all connections, a value for tests of
// networks: see the package's documentation for why they do not work.
func checkSyncookies() error {
	value, err := os.ReadFile("/proc/sys/net/ipv4/tcp_syncookies")
	if err == nil && strings.TrimSpace(string(value)) == "2" {
		return errors.New("net.ipv4.tcp_syncookies is 2, so that handshakes with the listener would fail: run sysctl -w net.ipv4.tcp_syncookies=1")
	}
	return nil
}

// checkSourceValidMark looks for a sysctl that makes marked packets vanish. With
// src_valid_mark (wg-quick sets it) the kernel looks for the way back to the
// sender with the packet's mark, finds our local route, and drops the packet as
// coming from itself, unless accept_local is set
// (__fib_validate_source in net/ipv4/fib_frontend.c). IPv6 has no such check.
func checkSourceValidMark(c Config) error {
	interfaces := c.Forwarded.Interfaces
	if len(interfaces) == 0 || c.KeepClientAddresses { // answers of servers arrive anywhere
		interfaces = []string{"all"}
	}
	for _, name := range interfaces {
		if sysctlOn("all", "src_valid_mark") || sysctlOn(name, "src_valid_mark") {
			if !sysctlOn("all", "accept_local") && !sysctlOn(name, "accept_local") {
				return fmt.Errorf("net.ipv4.conf.*.src_valid_mark is 1, so that the kernel drops what comes from interface %s as its own: run sysctl -w net.ipv4.conf.%s.accept_local=1, or switch src_valid_mark off",
					name, strings.ReplaceAll(name, ".", "/")) // as sysctl has the dot in the name of a VLAN
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
