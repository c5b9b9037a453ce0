/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What programs of type sock_ops share. */

#ifndef TANDEM_SOCKOPS_H
#define TANDEM_SOCKOPS_H

#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/socket.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The verdict of every program: the kernel then does what it would without. */
#define GO_ON 1

#define AF_INET 2
#define AF_INET6 10

/* Address of the peer; that of an IPv4 peer is IPv4-mapped (RFC 4291, section
 * 2.5.5.2), because an IPv6 socket that talks to it knows it as such. */
static __always_inline void remote_address(const struct bpf_sock_ops *ctx,
					   struct in6_addr *address)
{
	__be32 *word = address->s6_addr32;

	if (ctx->family == AF_INET) {
		word[0] = 0;
		word[1] = 0;
		word[2] = bpf_htonl(0xffff);
		word[3] = ctx->remote_ip4;
		/* Else the compiler reads the last word of both families with
		 * one instruction at a computed place in the context, which
		 * the verifier refuses. */
		barrier();
		return;
	}
	word[0] = ctx->remote_ip6[0];
	word[1] = ctx->remote_ip6[1];
	word[2] = ctx->remote_ip6[2];
	word[3] = ctx->remote_ip6[3];
}

/* Port of the peer in host byte order. The context holds it in network byte
 * order within 32 bits. */
static __always_inline __u16 remote_port(const struct bpf_sock_ops *ctx)
{
	return bpf_ntohl(ctx->remote_port);
}

#endif
