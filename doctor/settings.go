// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const groupSettings = "settings"

// sysctl reads a setting by its name with dots.
func sysctl(name string) (string, error) {
	return sysctlAt(filepath.Join(strings.Split(name, ".")...))
}

// sysctlAt reads a setting below /proc/sys: names of interfaces may have dots.
func sysctlAt(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

func sysctlNumber(name string) (int, error) {
	s, err := sysctl(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}

// Bits of net.ipv4.tcp_fastopen (Documentation/networking/ip-sysctl.rst).
const (
	fastOpenClient = 1
	fastOpenServer = 2
)

// leastBuffer is what package mptcp wants as net.core.rmem_max for Fast Open.
const leastBuffer = 1 << 20

func settingRows(n *Needs) []Row {
	rows := fastOpenRows(n)
	rows = append(rows, bufferRow(n))
	if n.TProxy {
		rows = append(rows,
			switchRow("net.ipv4.ip_forward", "what is not intercepted over IPv4, such as UDP, is not forwarded"),
			switchRow("net.ipv6.conf.all.forwarding", "what is not intercepted over IPv6, such as UDP, is not forwarded"))
	}
	if n.Joins {
		rows = append(rows, switchRow("net.mptcp.allow_join_initial_addr_port",
			"clients open no further subflows to the address that they have connected to"))
	}
	return append(rows, congestionRow(n))
}

func fastOpenRows(n *Needs) []Row {
	const name = "net.ipv4.tcp_fastopen"
	bits, err := sysctlNumber(name)
	if err != nil {
		return []Row{unknown(groupSettings, "TCP Fast Open", "whether requests travel in the SYN", err)}
	}
	row := func(check string, bit int, wanted bool, lost string) Row {
		r := good(groupSettings, check, "%s=%d", name, bits)
		if bits&bit == 0 {
			if !wanted {
				r.Found += ", not asked for"
				return r
			}
			r.Verdict, r.Lost = Warning, lost
			r.Mend = fmt.Sprintf("sysctl -w %s=%d", name, bits|fastOpenClient|fastOpenServer)
		}
		return r
	}
	return []Row{
		row("TCP Fast Open towards aggregators", fastOpenClient, n.FastOpenClient, "each connection takes a round trip more to its server"),
		row("TCP Fast Open from clients", fastOpenServer, n.FastOpenServer, "each connection of a client takes a round trip more"),
	}
}

// bufferRow is about the receive buffer that Fast Open over MPTCP needs.
func bufferRow(n *Needs) Row {
	const name = "net.core.rmem_max"
	most, err := sysctlNumber(name)
	if err != nil {
		return unknown(groupSettings, name, "whether Fast Open is used over MPTCP", err)
	}
	r := good(groupSettings, name, "%d bytes", most)
	if most < leastBuffer && n.FastOpenClient {
		r.Verdict = Warning
		r.Lost = "without CAP_NET_ADMIN there is no Fast Open over MPTCP"
		r.Mend = "sysctl -w net.core.rmem_max=4194304"
	}
	return r
}

// switchRow is about a setting that is to be 1.
func switchRow(name, lost string) Row {
	v, err := sysctl(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return good(groupSettings, name, "not known to this kernel")
	case err != nil:
		return unknown(groupSettings, name, lost, err)
	case v == "0":
		return Row{Group: groupSettings, Check: name, Verdict: Warning, Found: v, Lost: lost, Mend: "sysctl -w " + name + "=1"}
	}
	return good(groupSettings, name, "%s", v)
}

func congestionRow(n *Needs) Row {
	const check, name = "congestion control", "net.ipv4.tcp_available_congestion_control"
	text, err := sysctl(name)
	if err != nil {
		return unknown(groupSettings, check, "whether sockets get the congestion control that is configured", err)
	}
	r := good(groupSettings, check, "%s", text)
	for _, wanted := range n.Congestion {
		if !slices.Contains(strings.Fields(text), wanted) {
			r.Verdict = Failed
			r.Lost = "connections that are to have " + wanted + " fail"
			r.Mend = "modprobe tcp_" + wanted
		}
	}
	return r
}
