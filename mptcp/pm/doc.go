// SPDX-License-Identifier: Apache-2.0

// Package pm controls MPTCP path managers over the kernel's generic netlink
// family mptcp_pm: Documentation/netlink/specs/mptcp_pm.yaml in the Linux tree.
//
// A network namespace has one of two path managers, chosen by the sysctl
// net.mptcp.path_manager at the time a socket is created:
//
//   - The in-kernel one opens and announces subflows by itself, within limits,
//     from a list of endpoints that is the same for all connections. Endpoints
//     and limits are the methods of [Client] that take no token.
//   - The userspace one opens nothing by itself. A process follows the
//     connections with [Subscribe] and acts on each with the methods of
//     [Client] that take its token. The kernel accepts joins of peers for such
//     connections only while some process on the machine is subscribed: hold a
//     subscription for as long as connections shall take them.
//
// Everything but [Client.Limits] needs CAP_NET_ADMIN in the user namespace
// that owns the network namespace.
package pm
