// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const groupMTU = "packet sizes"

// The least that IPv6 works with (RFC 8200 section 5), and what every IPv4 host
// takes (RFC 791).
const (
	leastMTU6 = 1280
	leastMTU4 = 576
)

func mtuRows(ctx context.Context, n *Needs, links []link) []Row {
	var rows []Row
	for i := range links {
		l := &links[i]
		if i == 0 || links[i-1].device != l.device {
			rows = append(rows, interfaceRow(l))
		}
		asked := map[netip.Addr]bool{}
		for _, a := range n.Aggregators {
			to := a.Address.Addr()
			if to.Is4() == l.address.Is4() && !asked[to] {
				asked[to] = true
				rows = append(rows, pathRow(ctx, l, to))
			}
		}
	}
	return rows
}

func interfaceRow(l *link) Row {
	r := good(groupMTU, "MTU of "+l.device, "%d bytes", l.mtu)
	if l.mtu < leastMTU6 {
		r.Verdict = Warning
		r.Lost = "IPv6 is off on this link, and headers take a larger share of it"
		r.Mend = fmt.Sprintf("ip link set dev %s mtu %d", l.device, leastMTU6)
	}
	return r
}

// pathRow finds out which packets pass from a link to an aggregator, with
// ICMP echo requests that must not be fragmented.
func pathRow(ctx context.Context, l *link, to netip.Addr) Row {
	check := fmt.Sprintf("path from %s to %s", l.name(), to)
	const lost = "whether full-size packets pass"
	p, err := newPinger(l.address, to)
	if err != nil {
		r := unknown(groupMTU, check, lost, err)
		if errors.Is(err, unix.EPERM) {
			r.Mend = asRoot
		}
		return r
	}
	defer p.close()
	low := leastMTU4
	if !to.Is4() {
		low = leastMTU6
	}
	if low > l.mtu {
		low = l.mtu
	}
	if err := p.ping(ctx, low); err != nil {
		return unknown(groupMTU, check, lost, fmt.Errorf("no answer to ICMP echo requests: %w", err))
	}
	p.settle()
	err = p.ping(ctx, l.mtu)
	if err == nil {
		return good(groupMTU, check, "%d bytes", l.mtu)
	}
	told := errors.Is(err, unix.EMSGSIZE)
	high := l.mtu
	for high-low > 1 {
		middle := (low + high) / 2
		switch err := p.ping(ctx, middle); {
		case err == nil:
			low = middle
		default:
			told = told || errors.Is(err, unix.EMSGSIZE)
			high = middle
		}
	}
	if told {
		return good(groupMTU, check, "%d bytes, and routers say so", low)
	}
	return Row{
		Group: groupMTU, Check: check, Verdict: Failed,
		Found: fmt.Sprintf("%d bytes of %d; larger packets vanish without a word", low, l.mtu),
		Lost:  "connections over this link hang as soon as they carry much",
		Mend:  fmt.Sprintf("ip link set dev %s mtu %d", l.device, low),
	}
}
