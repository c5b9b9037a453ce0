/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* The parts of the kernel's own structures that programs read: net/sock.h,
 * net/inet_connection_sock.h, linux/tcp.h, net/mptcp/protocol.h, linux/cgroup.h
 * and linux/kernfs.h. Only names and types matter here; where the fields lie
 * is looked up in the running kernel's BTF when a program is loaded. */

#ifndef TANDEM_MPTCP_H
#define TANDEM_MPTCP_H

#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define IPPROTO_MPTCP 262

/* The verifier looks at a function with this by itself, once, instead of at each
 * of its calls, of which there would be too many. */
#define APART __attribute__((noinline))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct in6_words {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	unsigned char skc_state;
	struct in6_words skc_v6_daddr;
	struct in6_words skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	unsigned long sk_pacing_rate;
	int sk_sndbuf;
	struct sock_cgroup_data sk_cgrp_data;
};

struct tcp_congestion_ops___kernel {
	char name[16];
};

struct inet_connection_sock {
	const struct tcp_congestion_ops___kernel *icsk_ca_ops;
	void *icsk_ulp_data;
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_rack {
	__u32 rtt_us;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_sent;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u64 bytes_retrans;
	__u32 srtt_us;
	struct minmax rtt_min;
	struct tcp_rack rack;
	__u64 tcp_mstamp; /* us, of the last segment sent or received */
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_cwnd;
	__u32 mss_cache;
	__u8 bpf_sock_ops_cb_flags;
	bool is_mptcp;
};

struct mptcp_sock {
	__u64 write_seq;
	__u64 snd_nxt;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u64 snd_una;
	__u64 wnd_end;
	__u32 token;
	struct sock *first;
};

/* What makes a TCP socket a subflow. */
struct mptcp_subflow_context {
	__u32 token;
	__u32 request_join : 1;
	__u32 mp_capable : 1;
	__u32 mp_join : 1;
	__u32 backup : 1;
	__u32 request_bkup : 1;
	__s16 local_id;
	__u8 remote_id;
	__u32 subflow_id;
	struct sock *conn;
};

/* Context of an iter/tcp program. */
struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

/* The subflow that a TCP socket is, NULL if it is plain TCP. To be read with
 * BPF_CORE_READ. */
static __always_inline struct mptcp_subflow_context *subflow_of(struct tcp_sock *tp)
{
	if (!tp->is_mptcp)
		return NULL;
	return tp->inet_conn.icsk_ulp_data;
}

/* The connection of a subflow, to be read with BPF_CORE_READ. */
static __always_inline const struct mptcp_sock *connection_of(struct tcp_sock *tp)
{
	const struct mptcp_subflow_context *subflow = subflow_of(tp);

	return (const struct mptcp_sock *)BPF_CORE_READ(subflow, conn);
}

/* Number of a subflow in its connection, 0 if the kernel (before 6.5) does not
 * count them. */
static __always_inline __u32 subflow_number(struct mptcp_subflow_context *subflow)
{
	if (!bpf_core_field_exists(subflow->subflow_id))
		return 0;
	return BPF_CORE_READ(subflow, subflow_id);
}

/* Identifier of the local address, -1 if it has none yet. */
static __always_inline __s16 local_address_id(struct mptcp_subflow_context *subflow)
{
	__s16 id = BPF_CORE_READ(subflow, local_id);

	/* A byte, with the next field behind it, in older kernels. */
	return bpf_core_field_size(subflow->local_id) == 1 ? id & 0xff : id;
}

/* Bytes that a connection has moved in both directions: received, and
 * acknowledged by the peer. Kernels before 6.5 count them by subflow only. */
static __always_inline __u64 bytes_moved(struct tcp_sock *tp, struct mptcp_subflow_context *subflow)
{
	struct mptcp_sock *connection = (struct mptcp_sock *)BPF_CORE_READ(subflow, conn);

	if (!bpf_core_field_exists(connection->bytes_acked))
		return tp->bytes_received + tp->bytes_acked;
	return BPF_CORE_READ(connection, bytes_received) + BPF_CORE_READ(connection, bytes_acked);
}

/* The local token of a connection, also after the kernel has given it up, which
 * it does before the connection is closed where the peer aborts it. */
static __always_inline __u32 token_of(const struct mptcp_sock *connection)
{
	__u32 token = BPF_CORE_READ(connection, token);
	struct mptcp_subflow_context *subflow;
	struct tcp_sock *first;

	if (token)
		return token;
	first = (struct tcp_sock *)BPF_CORE_READ(connection, first);
	subflow = BPF_CORE_READ(first, inet_conn.icsk_ulp_data);
	return BPF_CORE_READ(subflow, token);
}

#endif
