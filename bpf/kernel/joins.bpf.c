// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0

/* Keeps the kernel from putting data at the wrong place of the stream.
 *
 * A subflow that a peer opens while a system call holds the connection is taken
 * up by it when that call ends, and the kernel then overwrites what it knows of
 * the place of the data at the head of the subflow (mptcp_subflow_joined in
 * net/mptcp/protocol.c). It knows nothing yet as long as nobody was told that
 * data has come: so nobody is, until the subflow is taken up, which sets the
 * low-water mark back (mptcp_sockopt_sync_locked in net/mptcp/sockopt.c).
 *
 * When its window is nearly used up the kernel tells nevertheless. A subflow on
 * which more has come than can wait is given up before that. */

#include "mptcp.h"
#include "sockops.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_SOCKET 1
#define SO_RCVLOWAT 18
#define SO_BINDTOIFINDEX 62
#define SOL_TCP 6
#define TCP_USER_TIMEOUT 18

/* Bytes that wait: a little more than what TCP begins with (RFC 6928). Linux
 * tells when there are about 64 kB. */
#define MOST 16000

/* Subflows that were opened while a system call held their connection, and how
 * many of them were given up. */
__u64 held;
__u64 given_up;

/* It gets and sends nothing from now on: the peer is answered with a reset as if
 * it were not there, and it ends when it has something to send. */
static __always_inline void give_up(struct bpf_sock_ops *ctx)
{
	int nowhere = 0x7fffffff, ms = 1;

	if (bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)))
		return;
	bpf_setsockopt(ctx, SOL_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags &
				       ~BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
	__sync_fetch_and_add(&given_up, 1);
}

static __always_inline void hold_back(struct bpf_sock_ops *ctx)
{
	int never = 0x7fffffff;

	bpf_setsockopt(ctx, SOL_SOCKET, SO_RCVLOWAT, &never, sizeof(never));
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
				       BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
	__sync_fetch_and_add(&held, 1);
}

SEC("sockops")
int tandem_join(struct bpf_sock_ops *ctx)
{
	bool established = ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	struct mptcp_subflow_context *subflow;
	struct tcp_sock *tp;

	if (!established && (ctx->op != BPF_SOCK_OPS_PARSE_HDR_OPT_CB ||
			     !(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG)))
		return GO_ON;
	tp = subflow_socket(ctx);
	if (!tp)
		return GO_ON;
	subflow = subflow_of(tp);
	/* It is numbered when it is taken up, which waits for the lock that this
	 * program runs under. */
	if (!BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join) || subflow_number(subflow))
		return GO_ON;
	if (established)
		hold_back(ctx);
	else if (tp->rcv_nxt - tp->copied_seq + ctx->skb_len > MOST)
		give_up(ctx);
	return GO_ON;
}
