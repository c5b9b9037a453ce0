// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
)

// appendLegs appends the connections that are not known yet as their sockets
// tell, which needs no rights. The past of subflows is not known then, nor who
// opened those after the first.
func (p *pathManagers) appendLegs(all []admin.Paths, known map[admin.Token]bool) ([]admin.Paths, error) {
	devices, err := localDevices()
	if err != nil {
		return nil, err
	}
	for leg := range p.server.Legs() {
		if !known[admin.Token(leg.Token)] {
			all = append(all, describeLeg(&leg, devices))
		}
	}
	return all, nil
}

func describeLeg(leg *proxy.Leg, devices map[netip.Addr]string) admin.Paths {
	p := admin.Paths{
		Token: admin.Token(leg.Token), Initiator: leg.Initiator, Manager: string(config.PathsKernel), Begun: leg.Began,
		Subflows: make([]admin.Subflow, len(leg.Subflows)), Past: []admin.Subflow{},
	}
	for i := range leg.Subflows {
		s := &leg.Subflows[i]
		d := admin.Subflow{
			Local: s.Local, Remote: s.Remote, Interface: devices[s.Local.Addr()], State: stateOf(s.TCP.State).String(),
			Opened: paths.Found.String(), RTT: s.TCP.RTT.Seconds(),
			Sent: s.TCP.BytesSent - s.TCP.BytesRetrans, Received: s.TCP.BytesReceived,
		}
		if s.ID == 1 { // that of MP_CAPABLE
			d.Opened, d.Passive, d.Since = paths.FirstSubflow.String(), !leg.Initiator, new(time.Time)
			*d.Since = leg.Began
		}
		p.Subflows[i] = d
	}
	return p
}

// stateOf is what a TCP state means for a subflow.
func stateOf(s mptcp.TCPState) paths.State {
	switch s {
	case mptcp.StateEstablished, mptcp.StateCloseWait:
		return paths.Established
	case mptcp.StateSynSent, mptcp.StateSynReceived:
		return paths.Opening
	case mptcp.StateClose:
		return paths.Closed
	}
	return paths.Closing
}

// localDevices are the interfaces with their addresses.
func localDevices() (map[netip.Addr]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	devices := make(map[netip.Addr]string)
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addresses {
			if prefix, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(prefix.IP); ok {
					devices[addr.Unmap()] = i.Name
				}
			}
		}
	}
	return devices, nil
}
