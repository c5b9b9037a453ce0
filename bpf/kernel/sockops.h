/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What programs of type sock_ops share. */

#ifndef TANDEM_SOCKOPS_H
#define TANDEM_SOCKOPS_H

#include "mptcp.h"

#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/socket.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The verdict of every program: the kernel then does what it would without. */
#define GO_ON 1

#define AF_INET 2
#define AF_INET6 10

/* The subflow that a program runs for, NULL if that is plain TCP. subflow_of gives
 * the rest of it. */
static __always_inline struct tcp_sock *subflow_socket(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tp && subflow_of(tp) ? tp : NULL;
}

/* An IPv4 address as IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2),
 * which is how an IPv6 socket that talks to an IPv4 peer knows it. */
static __always_inline void map_ipv4(struct in6_addr *address, __be32 ipv4)
{
	address->s6_addr32[0] = 0;
	address->s6_addr32[1] = 0;
	address->s6_addr32[2] = bpf_htonl(0xffff);
	address->s6_addr32[3] = ipv4;
	/* Else the compiler reads the last words of both families with one
	 * instruction at a computed place in the context, which the verifier
	 * refuses. */
	barrier();
}

static __always_inline void remote_address(const struct bpf_sock_ops *ctx,
					   struct in6_addr *address)
{
	if (ctx->family == AF_INET) {
		map_ipv4(address, ctx->remote_ip4);
		return;
	}
	address->s6_addr32[0] = ctx->remote_ip6[0];
	address->s6_addr32[1] = ctx->remote_ip6[1];
	address->s6_addr32[2] = ctx->remote_ip6[2];
	address->s6_addr32[3] = ctx->remote_ip6[3];
}

static __always_inline void local_address(const struct bpf_sock_ops *ctx,
					  struct in6_addr *address)
{
	if (ctx->family == AF_INET) {
		map_ipv4(address, ctx->local_ip4);
		return;
	}
	address->s6_addr32[0] = ctx->local_ip6[0];
	address->s6_addr32[1] = ctx->local_ip6[1];
	address->s6_addr32[2] = ctx->local_ip6[2];
	address->s6_addr32[3] = ctx->local_ip6[3];
}

/* Port of the peer in host byte order. The context holds it in network byte
 * order within 32 bits. */
static __always_inline __u16 remote_port(const struct bpf_sock_ops *ctx)
{
	return bpf_ntohl(ctx->remote_port);
}

#endif
