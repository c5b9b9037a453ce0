// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0

/* Reports the life of MPTCP connections and their subflows through a ring
 * buffer, and counts what did not fit. */

#include "events.h"
#include "mptcp.h"
#include "sockops.h"

#include <linux/errno.h>

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_TCP 6
#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008 /* since Linux 6.13 */

/* Id of the cgroup whose connections are reported. Set by user space. */
volatile __u64 cgroup_id;

/* Events that found the ring full. */
__u64 lost;

/* Not 0 while user space is going to look at the ring by itself before long, and
 * is to be woken only for what is urgent. */
__u32 patient;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* bytes; user space sets it */
	__type(value, struct event);
} ring SEC(".maps");

/* By token. A watch that came too late, when its connection was gone, is pushed
 * out some day. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 15);
	__type(key, __u32);
	__type(value, struct watch);
} watches SEC(".maps");

/* Whether the RTT of a watched subflow was last told to be above its limit. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} rtt_above SEC(".maps");

static __always_inline struct event *reserve(enum kind kind, __u32 token)
{
	struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->lost = lost;
	event->token = token;
	event->kind = kind;
	return event;
}

static __always_inline void submit(struct event *event, bool urgent)
{
	__u64 flags = 0;

	/* Atomic, so that it comes after the reservation: user space looks at the ring
	 * once more after it has lost its patience. */
	if (urgent)
		flags = BPF_RB_FORCE_WAKEUP;
	else if (__sync_fetch_and_add(&patient, 0))
		flags = BPF_RB_NO_WAKEUP;
	bpf_ringbuf_submit(event, flags);
}

static __always_inline void describe(struct event *event, const struct bpf_sock_ops *ctx,
				     struct tcp_sock *tp, struct mptcp_subflow_context *subflow)
{
	event->subflow = subflow_number(subflow);
	event->local_id = local_address_id(subflow);
	event->remote_id = BPF_CORE_READ(subflow, remote_id);
	event->backup = BPF_CORE_READ_BITFIELD_PROBED(subflow, backup) ||
			BPF_CORE_READ_BITFIELD_PROBED(subflow, request_bkup);
	local_address(ctx, &event->local);
	remote_address(ctx, &event->remote);
	event->local_port = ctx->local_port;
	event->remote_port = remote_port(ctx);
	event->srtt_us = tp->srtt_us >> 3;
	event->bytes_sent = tp->bytes_sent - tp->bytes_retrans;
	event->bytes_retransmitted = tp->bytes_retrans;
	event->bytes_acked = tp->bytes_acked;
	event->bytes_received = tp->bytes_received;
}

/* Callbacks that a subflow needs: its end always, samples of its RTT and
 * packets received only while something is watched. */
static __always_inline __u32 callbacks(__u32 token)
{
	struct watch *watch = bpf_map_lookup_elem(&watches, &token);
	__u32 flags = BPF_SOCK_OPS_STATE_CB_FLAG;

	if (watch && (watch->rtt_us || watch->bytes))
		flags |= BPF_SOCK_OPS_RTT_CB_FLAG;
	if (watch && watch->bytes)
		flags |= BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG;
	return flags;
}

/* The callbacks that this file uses; others on the same socket are not ours. */
#define CALLBACKS (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG | \
		   BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG)

/* What is present with ours as they are wanted now. Packets of a subflow without
 * a number are looked at by tandem_join. */
static __always_inline __u32 with_callbacks(__u32 present, struct mptcp_subflow_context *subflow)
{
	__u32 others = present & ~CALLBACKS;

	if (bpf_core_field_exists(subflow->subflow_id) && !subflow_number(subflow))
		others |= present & BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG;
	return others | callbacks(BPF_CORE_READ(subflow, token));
}

static __always_inline void set_callbacks(struct bpf_sock_ops *ctx,
					  struct mptcp_subflow_context *subflow)
{
	__u32 present = ctx->bpf_sock_ops_cb_flags;
	__u32 wanted = with_callbacks(present, subflow);

	if (wanted != present)
		bpf_sock_ops_cb_flags_set(ctx, wanted);
}

static __always_inline void established(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					struct mptcp_subflow_context *subflow, bool passive)
{
	__u32 token = BPF_CORE_READ(subflow, token);
	bool join = BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join);
	struct event *event;

	/* A peer without MPTCP, or a join with a wrong HMAC. */
	if (!join && !BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_capable))
		return;
	if (ctx->state == BPF_TCP_CLOSE)
		return;
	set_callbacks(ctx, subflow);
	event = reserve(join ? JOINED : ESTABLISHED, token);
	if (!event)
		return;
	describe(event, ctx, tp, subflow);
	event->passive = passive;
	submit(event, false);
}

static __always_inline enum reason reason_for(int old_state, int error)
{
	switch (error) {
	case 0:
		break;
	case ECONNRESET:
	case ECONNREFUSED:
	case EPIPE: /* reset in CLOSE_WAIT */
		return RESET_RECEIVED;
	case ECONNABORTED:
		return RESET_SENT;
	default: /* ETIMEDOUT, or what ICMP said meanwhile */
		return TIMEOUT;
	}
	switch (old_state) {
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSING:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_TIME_WAIT:
		return FIN;
	}
	return RESET_SENT;
}

static __always_inline void closed(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
				   struct mptcp_subflow_context *subflow)
{
	int old_state = ctx->args[0];
	struct sock *sk = (struct sock *)tp;
	bool opening = old_state == BPF_TCP_SYN_SENT || old_state == BPF_TCP_SYN_RECV;
	struct event *event;

	/* Whoever opens a connection learns by itself that it failed. */
	if (opening && !BPF_CORE_READ_BITFIELD_PROBED(subflow, request_join))
		return;
	event = reserve(opening ? JOIN_FAILED : SUBFLOW_CLOSED, BPF_CORE_READ(subflow, token));
	if (!event)
		return;
	describe(event, ctx, tp, subflow);
	event->error = sk->sk_err;
	event->reason = reason_for(old_state, event->error);
	/* Others may have to be opened in its place. */
	submit(event, opening || event->error);
}

/* Crossing back takes an eighth less, or noise would make a flood of events. */
static __always_inline bool exceeds(__u32 srtt_us, __u32 limit_us, bool before)
{
	return srtt_us > (before ? limit_us - limit_us / 8 : limit_us);
}

static __always_inline void check_rtt(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
				      struct mptcp_subflow_context *subflow, struct watch *watch)
{
	__u8 *before = bpf_sk_storage_get(&rtt_above, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct event *event;
	bool above;

	if (!before)
		return;
	above = exceeds(tp->srtt_us >> 3, watch->rtt_us, *before);
	if (above == *before)
		return;
	*before = above;
	event = reserve(RTT_CROSSED, BPF_CORE_READ(subflow, token));
	if (!event)
		return;
	describe(event, ctx, tp, subflow);
	event->above = above;
	submit(event, true);
}

static __always_inline void check_bytes(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					struct mptcp_subflow_context *subflow, struct watch *watch)
{
	struct event *event;

	/* Two subflows may come here at once. */
	if (bytes_moved(tp, subflow) < watch->bytes ||
	    !__sync_lock_test_and_set(&watch->bytes, 0))
		return;
	event = reserve(BYTES_REACHED, BPF_CORE_READ(subflow, token));
	if (!event)
		return;
	describe(event, ctx, tp, subflow);
	submit(event, true);
}

static __always_inline void progress(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
				     struct mptcp_subflow_context *subflow)
{
	__u32 token = BPF_CORE_READ(subflow, token);
	struct watch *watch = bpf_map_lookup_elem(&watches, &token);

	if (watch && watch->rtt_us && ctx->op == BPF_SOCK_OPS_RTT_CB)
		check_rtt(ctx, tp, subflow, watch);
	if (watch && watch->bytes)
		check_bytes(ctx, tp, subflow, watch);
	set_callbacks(ctx, subflow);
}

SEC("sockops")
int tandem_events(struct bpf_sock_ops *ctx)
{
	struct mptcp_subflow_context *subflow;
	struct tcp_sock *tp;

	/* Segments are looked at for other programs, too. */
	if (ctx->op == BPF_SOCK_OPS_PARSE_HDR_OPT_CB &&
	    !(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG))
		return GO_ON;
	tp = subflow_socket(ctx);
	if (!tp)
		return GO_ON;
	subflow = subflow_of(tp);
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		set_callbacks(ctx, subflow);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		established(ctx, tp, subflow, false);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		established(ctx, tp, subflow, true);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			closed(ctx, tp, subflow);
		break;
	case BPF_SOCK_OPS_RTT_CB:
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		progress(ctx, tp, subflow);
		break;
	}
	return GO_ON;
}

/* Sockets of connections, other than those of subflows, have no callbacks. The
 * tracepoint fires for all sockets of the machine, hence the order of checks. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tandem_closed, const struct sock *sk, const int old_state, const int new_state)
{
	struct event *event;
	__u32 token;

	if (new_state != BPF_TCP_CLOSE || old_state == BPF_TCP_CLOSE)
		return 0;
	if (sk->sk_protocol != IPPROTO_MPTCP)
		return 0;
	if (BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id) != cgroup_id)
		return 0;
	token = token_of((const struct mptcp_sock *)sk);
	if (!token)
		return 0;
	bpf_map_delete_elem(&watches, &token);
	event = reserve(CLOSED, token);
	if (event)
		submit(event, false);
	return 0;
}

/* Brings the callbacks of live subflows in line with what is watched. Writes a
 * byte for each subflow where the kernel does not let us. */
SEC("iter/tcp")
int tandem_watch(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct mptcp_subflow_context *subflow;
	__u32 present, wanted;
	struct tcp_sock *tp;

	tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	if (!tp || skc->skc_state == BPF_TCP_LISTEN || skc->skc_state == BPF_TCP_CLOSE)
		return 0;
	subflow = subflow_of(tp);
	if (!subflow || BPF_CORE_READ((struct sock *)tp, sk_cgrp_data.cgroup, kn, id) != cgroup_id)
		return 0;
	present = tp->bpf_sock_ops_cb_flags;
	wanted = with_callbacks(present, subflow);
	if (wanted == present)
		return 0;
	if (bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &wanted, sizeof(wanted)))
		bpf_seq_write(ctx->meta->seq, "!", 1);
	return 0;
}
