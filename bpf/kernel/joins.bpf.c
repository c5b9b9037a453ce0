// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0

/* Keeps the kernel from putting data at the wrong place of the stream.
 *
 * A subflow that a peer opens while a system call holds the connection is taken
 * up by it when that call ends, and the kernel then overwrites what it knows of
 * the place of the data at the head of the subflow (mptcp_subflow_joined in
 * net/mptcp/protocol.c). It knows nothing yet as long as nobody was told that
 * data has come: so nobody is, until the subflow is taken up, which sets the
 * low-water mark back (mptcp_sockopt_sync_locked in net/mptcp/sockopt.c). */

#include "mptcp.h"
#include "sockops.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_SOCKET 1
#define SO_RCVLOWAT 18

/* Subflows that were opened while a system call held their connection. */
__u64 held;

SEC("sockops")
int tandem_join(struct bpf_sock_ops *ctx)
{
	struct mptcp_subflow_context *subflow;
	int never = 0x7fffffff;
	struct bpf_sock *sk;
	struct tcp_sock *tp;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return GO_ON;
	sk = ctx->sk;
	tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (!tp)
		return GO_ON;
	subflow = subflow_of(tp);
	/* It is numbered when it is taken up, which waits for the lock that this
	 * program runs under. */
	if (!subflow || !BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join) ||
	    subflow_number(subflow))
		return GO_ON;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_RCVLOWAT, &never, sizeof(never));
	__sync_fetch_and_add(&held, 1);
	return GO_ON;
}
