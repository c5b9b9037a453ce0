// SPDX-License-Identifier: Apache-2.0

// Package tproxy gives listeners the connections of others without their
// knowing: those that this machine forwards (TPROXY) and those that its own
// programs make (redirect), over IPv4 and IPv6.
//
//	i, err := tproxy.Install(tproxy.Config{
//		Forwarded: tproxy.Forwarded{
//			Capture:    tproxy.Capture{To: []netip.AddrPort{listener}},
//			Interfaces: []string{"br-lan"},
//		},
//	})
//	defer i.Close()
//
// The listener has IP_TRANSPARENT set. The local address of what it accepts is
// where the client wanted to go: [Destination], or [OriginalDestination] for
// the machine's own traffic.
//
// # What is installed
//
// One nftables table of the inet family, and for TPROXY a routing rule for a
// firewall mark and a table with one local default route, for IPv4 and IPv6.
// [Config.Ruleset] prints all of it. Nothing else is touched, and no sysctl is
// changed.
//
// The table belongs to the process (flag owner): others cannot change it, a
// firewall that reloads with "flush ruleset" leaves it in place, and the kernel
// removes it when the process ends, however it ends. A table that exists is
// therefore a live one. Routing rules and routes carry the routing protocol
// number [RouteProtocol]; those that no table refers to are leftovers of a crash and
// are removed by the next [Install].
//
// # Which packets
//
// Only a SYN can start an interception. Connections that ran past the listener
// before it was there, or while it was excluded, go on as they were, and
// connections that were intercepted stay so until they end, whatever [Interceptor.Update]
// excludes meanwhile. If no listener is there, forwarded connections go on to
// their destination.
//
// The price: when the listener answers SYNs with cookies because it is flooded,
// the third packet of a handshake belongs to no socket and goes to the server,
// which resets the connection. With net.ipv4.tcp_syncookies=0 the SYN is lost
// instead, and the client repeats it.
package tproxy
