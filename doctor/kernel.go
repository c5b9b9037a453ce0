// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

const groupKernel = "kernel"

// asRoot mends what the rights of the caller do not allow to look at.
const asRoot = "sudo tandem doctor"

func kernelRows(n *Needs) []Row {
	return append([]Row{mptcpRow(n), socketOptionRow(), interceptionRow(n)}, ebpfRows(n)...)
}

func mptcpRow(n *Needs) Row {
	err := mptcp.Supported()
	if err == nil {
		return good(groupKernel, "MPTCP", "yes")
	}
	r := Row{
		Group: groupKernel, Check: "MPTCP", Verdict: severity(n.MPTCP), Found: err.Error(),
		Lost: "all connections are plain TCP and use one link",
	}
	switch {
	case errors.Is(err, mptcp.ErrDisabled):
		r.Mend = "sysctl -w net.mptcp.enabled=1"
	case errors.Is(err, mptcp.ErrUnsupported):
		r.Mend = "apt-get install linux-image-amd64"
	}
	return r
}

// usedOptions are those that package mptcp sets.
var usedOptions = []string{
	"SO_MARK", "SO_BINDTODEVICE", "SO_KEEPALIVE", "SO_REUSEADDR", "IP_TRANSPARENT", "IPV6_TRANSPARENT", "IP_FREEBIND",
	"IPV6_FREEBIND", "IP_BIND_ADDRESS_NO_PORT", "TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT",
	"TCP_CONGESTION", "TCP_NOTSENT_LOWAT", "TCP_FASTOPEN", "SO_SNDBUF", "SO_RCVBUF", "IPV6_V6ONLY",
}

// socketOptionRow tells which options MPTCP sockets refuse.
func socketOptionRow() Row {
	const check = "options of MPTCP sockets"
	results, err := mptcp.ProbeSocketOptions()
	if err != nil {
		return unknown(groupKernel, check, "which options MPTCP sockets take", err)
	}
	var refused, missed []string
	forbidden := false
	for _, o := range results {
		if o.Set == nil {
			continue
		}
		refused = append(refused, o.Name)
		if slices.Contains(usedOptions, o.Name) {
			missed = append(missed, o.Name)
			forbidden = forbidden || errors.Is(o.Set, unix.EPERM)
		}
	}
	r := good(groupKernel, check, "%d of %d probed; refused: %s", len(results)-len(refused), len(results), orNone(refused))
	if len(missed) > 0 {
		r.Verdict = Warning
		r.Lost = "configurations that ask for them fail: " + strings.Join(missed, ", ")
		if forbidden {
			r.Mend = asRoot
		}
	}
	return r
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
