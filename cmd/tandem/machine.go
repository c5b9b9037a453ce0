// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/plural"
)

// machine is what the kernel and the rights of the process allow.
type machine struct {
	mptcp    error // nil: yes
	fastOpen int   // bits of net.ipv4.tcp_fastopen (ip-sysctl.rst)
	netAdmin bool  // CAP_NET_ADMIN
	files    uint64
}

// Bits of net.ipv4.tcp_fastopen.
const (
	fastOpenClient = 1
	fastOpenServer = 2
	fastOpenBoth   = fastOpenClient | fastOpenServer
)

func lookAtMachine() machine {
	m := machine{mptcp: mptcp.Supported(), netAdmin: hasCapability(unix.CAP_NET_ADMIN)}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_fastopen"); err == nil {
		m.fastOpen, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.files = limit.Cur
	}
	return m
}

// hasCapability tells whether the process has a capability in effect.
func hasCapability(c int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}

// describeMPTCP says whether the kernel can do MPTCP and, if not, how to mend it.
func (m machine) describeMPTCP() string {
	if m.mptcp != nil {
		return "no, plain TCP only: " + m.mptcp.Error()
	}
	return "yes"
}

// describeFastOpen says which sides of TCP Fast Open are on.
func (m machine) describeFastOpen() string {
	switch m.fastOpen & fastOpenBoth {
	case fastOpenBoth:
		return "yes"
	case fastOpenClient:
		return "towards servers only; sysctl -w net.ipv4.tcp_fastopen=3 lets clients use it too"
	case fastOpenServer:
		return "for clients only; sysctl -w net.ipv4.tcp_fastopen=3 uses it towards aggregators too"
	}
	return "no; sysctl -w net.ipv4.tcp_fastopen=3 switches it on"
}

// describeFiles says how many connections the limit of open files allows.
func (m machine) describeFiles() string {
	const perConnection, others = 2, 100
	return fmt.Sprintf("%d, enough for about %s", m.files, plural.Of((max(m.files, others)-others)/perConnection, "connection"))
}
