// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0

/* Steers the kernel's MPTCP packet scheduler, by connection. A congestion
 * control that wraps one of the kernel's own looks, at each ACK of its subflow,
 * at the policy of the connection, and sets the subflow's highest pacing rate:
 * the kernel's congestion controls keep to that, and its scheduler skips a
 * subflow whose rate is 0. */

#include "decide.h"
#include "mptcp.h"
#include "options.h"
#include "sockops.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_SOCKET 1
#define SO_MAX_PACING_RATE 47
#define TCP_CONGESTION 13
#define TCP_NOTSENT_LOWAT 25
#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008 /* since Linux 6.13 */
#define TCP_CA_Loss 4 /* enum tcp_ca_state */
#define CONNECTIONS (1 << 15)

/* A sibling without an ACK for that long will not notice by itself that it is
 * to do something else. */
#define IDLE_FOR (20 * MS)

/* Under a policy that decides nothing at ACKs, one is looked at that often. */
#define REST_US 2000

struct name {
	char text[16]; /* TCP_CA_NAME_MAX */
};

/* Two names of each family: setting the one that a socket has does nothing,
 * setting the other one runs init, on a subflow too that gets no ACKs. Set by
 * user space. */
volatile struct name names[FAMILIES][2];

/* How many subflows beside the first of their connection the walk has put off.
 * Sockets are walked in no order: only when all are known it is clear which of
 * them came first, so that they are taken up by another walk. */
volatile __u32 put_off;

/* Id of the cgroup whose subflows are steered. Set by user space. */
volatile __u64 cgroup_id;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTIONS);
	__type(key, __u32); /* token */
	__type(value, struct policy);
} policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTIONS);
	__type(key, __u32); /* token */
	__type(value, struct connection);
} connections SEC(".maps");

/* Tokens of connections that have a subflow to be kicked. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} wakes SEC(".maps");

/* A subflow that is steered. */
struct steered {
	__u32 token;   /* 0: it is not ours yet, or not any more */
	__u32 subflow; /* its number, or UNNUMBERED */
	__u32 path;
	__u32 family;
	__u32 variant;	/* which of the two names it has */
	__u32 original; /* family that it had, or UNLIMITED if that is not known */
	__u32 generation; /* of the policy that its options are from */
	struct subflow_options given;
	__u64 rest_until; /* as tcp_mstamp: before, ACKs are not looked at */
	__u8 drained;  /* nothing was unacknowledged at the last look */
	__u8 asking;   /* requests of the connection are in flight */
	__u8 answering; /* the policy is SERVER */
	__u8 kicking;  /* it is us who change the congestion control */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct steered);
} subflows SEC(".maps");

#include "request.h"

static const struct connection nothing_known;
static const struct name kernel_names[FAMILIES] = {
	[RENO] = { "reno" },
	[CUBIC] = { "cubic" },
	[BBR] = { "bbr" },
};

#include "steer.h"

#include "enroll.h"

/* Where is a subflow, as a context of sock_ops or as struct tcp_sock. */
static __always_inline void follow(void *where, struct tcp_sock *tp, struct steered *s,
				   const struct policy *p, struct connection *c)
{
	number(tp, s, &c->paths[within(s->path)]);
	s->asking = requesting(s->token);
	set_hooks(where, tp, hooks(tp, p, s->asking));
	if (s->generation == p->generation)
		return;
	s->generation = p->generation;
	s->rest_until = 0;
	s->answering = p->scheduler == SERVER;
	set_options(where, &p->options, &s->given, &c->paths[within(s->path)].refused);
}

static __always_inline void established(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					struct mptcp_subflow_context *subflow)
{
	__u32 token = BPF_CORE_READ(subflow, token), not_sent = NOT_SENT;
	struct connection *c;
	struct steered *s;
	struct policy *p;

	bpf_setsockopt(ctx, SOL_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	p = bpf_map_lookup_elem(&policies, &token);
	c = p ? connection_by(token) : NULL;
	if (!c)
		return;
	if (!c->walked && put_off_once(c, number_of(subflow))) {
		/* The walk that a new policy leads to may have passed it. */
		wake(c, token);
		return;
	}
	s = enroll(tp, subflow, c, token);
	if (!s)
		return;
	kick(ctx, s, p);
	follow(ctx, tp, s, p, c);
}

/* Data came: with SERVER the answer takes the same way back. */
static __always_inline void heard(struct tcp_sock *tp)
{
	struct steered *s = bpf_sk_storage_get(&subflows, tp, NULL, 0);
	struct connection *c;
	struct policy *p;

	if (!s || !s->answering)
		return;
	p = bpf_map_lookup_elem(&policies, &s->token);
	c = bpf_map_lookup_elem(&connections, &s->token);
	if (!p || !c || p->scheduler != SERVER)
		return;
	c->chosen = within(s->path);
	look_after(p, c, s->token, within(s->path), bpf_ktime_get_ns());
}

/* Joins the subflows of steered connections when they are established. */
SEC("sockops")
int tandem_subflow(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tp;

	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		if (ctx->skb_len <= ctx->skb_data_end - ctx->skb_data)
			return GO_ON;
		break;
	default:
		return GO_ON;
	}
	tp = subflow_socket(ctx);
	if (!tp)
		return GO_ON;
	if (ctx->op == BPF_SOCK_OPS_PARSE_HDR_OPT_CB)
		heard(tp);
	else
		established(ctx, tp, subflow_of(tp));
	return GO_ON;
}

static __always_inline void let_go(struct tcp_sock *tp, struct steered *s)
{
	__u32 unlimited = UNLIMITED, not_sent = NOT_SENT, original = s->original;
	struct name name = kernel_names[original && original < FAMILIES ? original & 3 : CUBIC];
	const struct policy none = {};
	__u32 refused = 0;

	bpf_setsockopt(tp, SOL_SOCKET, SO_MAX_PACING_RATE, &unlimited, sizeof(unlimited));
	bpf_setsockopt(tp, SOL_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	kick(tp, s, &none); /* the kernel's do not all begin with a rate */
	bpf_setsockopt(tp, SOL_TCP, TCP_CONGESTION, &name, sizeof(name));
	set_options(tp, &none.options, &s->given, &refused);
	set_hooks(tp, tp, hooks(tp, NULL, false));
	bpf_sk_storage_delete(&subflows, tp);
}

/* What user space is told of each subflow that has a policy. */
struct walked {
	__u32 token;
	__u32 hooks; /* callback flags that it had */
};

/* Brings live subflows in line with the policies: joins them, kicks those that
 * are to do something else than they do, and lets go of those whose policy was
 * taken back. */
SEC("iter/tcp")
int tandem_kick(struct bpf_iter__tcp *ctx)
{
	struct walked walked = {};
	struct sock_common *skc = ctx->sk_common;
	struct mptcp_subflow_context *subflow;
	__u32 token, not_sent = NOT_SENT, limit;
	struct connection *c;
	struct steered *s;
	struct tcp_sock *tp;
	struct policy *p;
	bool joins = false;
	struct path *path;

	tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	if (!tp || skc->skc_state == BPF_TCP_LISTEN || skc->skc_state == BPF_TCP_CLOSE)
		return 0;
	subflow = subflow_of(tp);
	if (!subflow || !ours((struct sock *)tp))
		return 0;
	token = BPF_CORE_READ(subflow, token);
	s = bpf_sk_storage_get(&subflows, tp, NULL, 0);
	p = bpf_map_lookup_elem(&policies, &token);
	if (!p) {
		if (s)
			let_go(tp, s);
		return 0;
	}
	walked.token = token;
	walked.hooks = tp->bpf_sock_ops_cb_flags;
	bpf_seq_write(ctx->meta->seq, &walked, sizeof(walked));
	c = connection_by(token);
	if (!c)
		return 0;
	/* What may never come to be is no path yet. */
	if (skc->skc_state == BPF_TCP_SYN_SENT && addresses_of(subflow) != FIRST_ADDRESSES)
		return 0;
	if (!s || !s->token) {
		if (!s && addresses_of(subflow) != FIRST_ADDRESSES && put_off_once(c, number_of(subflow))) {
			__sync_fetch_and_add(&put_off, 1);
			return 0;
		}
		s = enroll(tp, subflow, c, token);
		joins = true;
		bpf_setsockopt(tp, SOL_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	}
	if (!s)
		return 0;
	c->walked = 1;
	c->waking = 0;
	follow(tp, tp, s, p, c);
	path = &c->paths[within(s->path)];
	judge(p, c, s->path, bpf_ktime_get_ns());
	limit = decide(p, c, s->path, bpf_ktime_get_ns());
	if (joins || (p->family && s->family != p->family) || (limit && !path->limit)) {
		kick(tp, s, p);
	} else if (limit != path->limit) {
		path->limit = limit;
		bpf_setsockopt(tp, SOL_SOCKET, SO_MAX_PACING_RATE, &limit, sizeof(limit));
	}
	return 0;
}

/* What is known of a connection goes with it. The tracepoint fires for all
 * sockets of the machine, hence the order of checks. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tandem_forget, const struct sock *sk, const int old_state, const int new_state)
{
	__u32 token;

	if (new_state != BPF_TCP_CLOSE || sk->sk_protocol != IPPROTO_MPTCP || !ours(sk))
		return 0;
	token = token_of((const struct mptcp_sock *)sk);
	bpf_map_delete_elem(&policies, &token);
	bpf_map_delete_elem(&connections, &token);
	bpf_map_delete_elem(&outgoing, &token);
	return 0;
}

#include "wrapped.h"
