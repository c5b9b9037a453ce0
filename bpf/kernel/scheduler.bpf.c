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

/* How many subflows beside the first of their connection the walk has taken up.
 * Sockets are walked in no order: where the first is not known yet, such a one
 * would be taken for the only one, and is left to another walk. */
volatile __u32 taken_up;

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
	__u32 token;
	__u32 subflow; /* its number */
	__u32 path;
	__u32 family;
	__u32 variant;	/* which of the two names it has */
	__u32 original; /* family that it had, or UNLIMITED if that is not known */
	__u32 generation; /* of the policy that its options are from */
	enum subflow_option options; /* bits, those that were set */
	__u64 rest_until; /* as tcp_mstamp: before, ACKs are not looked at */
	__u8 drained;  /* nothing was unacknowledged at the last look */
	__u8 asking;   /* requests of the connection are in flight */
	__u8 answering; /* the policy is SERVER */
	__u8 kicking;  /* it is us who change the congestion control */
	__u8 deserted; /* it is not ours (yet, or any more) */
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

static __always_inline void wake(struct connection *c, __u32 token)
{
	if (!__sync_val_compare_and_swap(&c->waking, 0, 1) &&
	    bpf_ringbuf_output(&wakes, &token, sizeof(token), 0))
		c->waking = 0;
}

/* Asks for a kick if a subflow that gets no ACKs does not do what it should. */
APART int look_after(const struct policy *p, struct connection *c, __u32 token, __u32 me, __u64 now)
{
	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		const struct path *path = &c->paths[i];

		if (i == me || !path->subflow || now - path->acked_at < IDLE_FOR)
			continue;
		if (!decide(p, c, i, now) != !path->limit)
			wake(c, token);
	}
	return 0;
}

/* Over a time, since ACKs come in bursts. */
static __always_inline void measure_rate(struct tcp_sock *tp, struct path *path, __u64 now)
{
	__u64 time = now - path->window_at, rate;

	if (time < RATE_OVER)
		return;
	rate = (tp->bytes_acked - path->window_acked) * NSEC_PER_SEC / time;
	if (rate >= path->rate || now - path->rate_at > RATE_FOR) {
		path->rate = rate;
		path->rate_at = now;
	}
	path->window_at = now;
	path->window_acked = tp->bytes_acked;
}

/* A rate to start with after none: the window within a round trip. */
static __always_inline __u64 first_rate(const struct tcp_sock *tp)
{
	__u64 rtt_us = tp->srtt_us >> 3;

	return (__u64)tp->snd_cwnd * tp->mss_cache * USEC_PER_SEC / (rtt_us ? rtt_us : 1000);
}

static __always_inline void measure(struct tcp_sock *tp, struct path *path, __u64 now)
{
	__u32 not_sent = tp->write_seq - tp->snd_nxt;

	/* What the local queue drops counts as sent more than once. */
	path->unacked = tp->write_seq - tp->snd_una;
	path->assigned = tp->bytes_acked + path->unacked;
	path->srtt_us = tp->srtt_us >> 3;
	path->min_rtt_us = tp->rtt_min.s[0].v;
	path->likely_rate = first_rate(tp);
	path->acked_at = now;
	measure_rate(tp, path, now);
	note_rtt(path, tp->rack.rtt_us, now);
	/* Less than a segment may wait for an ACK only (Nagle). */
	if (not_sent < tp->mss_cache)
		path->full_since = 0;
	else if (!path->full_since)
		path->full_since = now;
	else if (now - path->full_since > (is_slow(path) ? FULL_FOR / 3 : FULL_FOR))
		path->full_at = now;
}

/* What all paths have to know before one of them decides. */
APART int judge(const struct policy *p, struct connection *c, __u32 me, __u64 now)
{
	__u32 limit_us, srtt_us;

	if (!p || !c)
		return 0;
	me = within(me);
	limit_us = p->delay_threshold_us;
	srtt_us = c->paths[me].srtt_us;
	if (c->generation != p->generation) {
		c->generation = p->generation;
		c->open = 0;
		c->trial = 0;
		for (__u32 i = 0; i < PATHS; i++)
			c->paths[i].base = c->paths[i].assigned;
	}
	if (p->scheduler == SMALLEST_DELAY)
		choose_fastest(p, c, now);
	if (p->scheduler == AUTO && !c->open && !bulky(c, now))
		choose_calm(p, c, now);
	/* Back takes a quarter less, or noise would have it to and fro. */
	if (me == first_path(p, c))
		c->slow = srtt_us > (c->slow ? limit_us - limit_us / 4 : limit_us);
	return 0;
}

/* Nothing to decide, and what is known of the path is of late. */
static __always_inline bool resting(const struct tcp_sock *tp, const struct steered *s)
{
	return tp->tcp_mstamp < s->rest_until && (s->drained || tp->write_seq != tp->snd_una);
}

/* Looks only now and then from now on, if that is enough: the decision does not
 * depend on what ACKs say. */
static __always_inline void rest(const struct tcp_sock *tp, struct steered *s, const struct policy *p)
{
	s->drained = tp->write_seq == tp->snd_una;
	if (p->scheduler == DEFAULT && !p->delay_threshold_us)
		s->rest_until = tp->tcp_mstamp + REST_US;
}

/* Has requests written, and ends the hook for their answers after the last. */
static __always_inline void ask(struct tcp_sock *tp, struct steered *s, const struct policy *p)
{
	send_request(tp, s->token, s->subflow);
	if (requesting(s->token))
		return;
	s->asking = 0;
	set_hooks(tp, tp, hooks(tp, p, false));
}

static __always_inline void steer(struct sock *sk, bool acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct steered *s = bpf_sk_storage_get(&subflows, sk, NULL, 0);
	struct connection *c;
	struct policy *p;
	struct path *path;
	__u64 now, rate;
	__u32 limit, not_sent;

	if (!s || (acked && resting(tp, s)))
		return;
	p = bpf_map_lookup_elem(&policies, &s->token);
	c = bpf_map_lookup_elem(&connections, &s->token);
	if (!p || !c) {
		/* Taken back. */
		if (!sk->sk_pacing_rate)
			sk->sk_pacing_rate = first_rate(tp);
		return;
	}
	path = &c->paths[within(s->path)];
	now = bpf_ktime_get_ns();
	if (acked) {
		path->lost = 0;
		measure(tp, path, now);
		if (p->scheduler == AUTO)
			observe(p, c, connection_of(tp), now);
	}
	judge(p, c, within(s->path), now);
	limit = decide(p, c, within(s->path), now);
	if (limit != path->limit || !acked) {
		path->limit = limit;
		bpf_setsockopt(sk, SOL_SOCKET, SO_MAX_PACING_RATE, &limit, sizeof(limit));
	}
	not_sent = p->scheduler == AUTO ? not_sent_of(c, s->path) : NOT_SENT;
	if (not_sent != path->not_sent) {
		path->not_sent = not_sent;
		bpf_setsockopt(sk, SOL_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	}
	if (limit && !sk->sk_pacing_rate) {
		rate = first_rate(tp);
		sk->sk_pacing_rate = rate < limit ? rate : limit;
	}
	look_after(p, c, s->token, within(s->path), now);
	if (!acked)
		return;
	rest(tp, s, p);
	if (s->asking)
		ask(tp, s, p);
}

/* The retransmission timer fired: until an ACK comes others take over. */
static __always_inline void note_state(struct sock *sk, __u8 state)
{
	struct steered *s = bpf_sk_storage_get(&subflows, sk, NULL, 0);
	struct connection *c;
	struct policy *p;

	if (!s || state != TCP_CA_Loss)
		return;
	p = bpf_map_lookup_elem(&policies, &s->token);
	c = bpf_map_lookup_elem(&connections, &s->token);
	if (!p || !c)
		return;
	c->paths[within(s->path)].lost = 1;
	s->rest_until = 0;
	look_after(p, c, s->token, within(s->path), bpf_ktime_get_ns());
}

/* Runs when a subflow ends, and when its congestion control is changed. */
static __always_inline void leave(struct sock *sk)
{
	struct steered *s;
	struct connection *c;
	struct policy *p;

	s = bpf_sk_storage_get(&subflows, sk, NULL, 0);
	if (!s || s->kicking)
		return;
	p = bpf_map_lookup_elem(&policies, &s->token);
	c = bpf_map_lookup_elem(&connections, &s->token);
	if (!p || !c)
		return;
	if (sk->__sk_common.skc_state != BPF_TCP_CLOSE) {
		/* The kernel does so with new subflows when options of the
		 * connection's socket were set (sync_socket_options). */
		s->deserted = 1;
		wake(c, s->token);
		return;
	}
	c->paths[within(s->path)].subflow = 0;
	for (__u32 i = 0; i < PATHS; i++)
		c->paths[i].base = c->paths[i].assigned;
	look_after(p, c, s->token, within(s->path), bpf_ktime_get_ns());
}

/* Identifiers of the addresses of the first subflow, whose path is 0. */
#define FIRST_ADDRESSES (1 << 16)

/* The path of a subflow: the one that it had before if it comes back, else a
 * new one, else one that is not in use. PATHS if there is none. */
APART __u32 claim(struct connection *c, __u32 number, __u32 addresses)
{
	if (!c)
		return PATHS;
	for (__u32 i = 0; i < PATHS; i++)
		if (c->paths[i].addresses == addresses &&
		    !__sync_val_compare_and_swap(&c->paths[i].subflow, 0, number))
			return i;
	for (__u32 i = addresses != FIRST_ADDRESSES; i < PATHS; i++)
		if (!c->paths[i].addresses &&
		    !__sync_val_compare_and_swap(&c->paths[i].subflow, 0, number))
			return i;
	for (__u32 i = 1; i < PATHS; i++)
		if (!__sync_val_compare_and_swap(&c->paths[i].subflow, 0, number))
			return i;
	return PATHS;
}

static __always_inline __u32 family_of(struct tcp_sock *tp)
{
	struct name present = {};

	bpf_core_read_str(present.text, sizeof(present.text), &tp->inet_conn.icsk_ca_ops->name);
	for (__u32 i = RENO; i < FAMILIES; i++)
		if (!bpf_strncmp(present.text, sizeof(present.text), kernel_names[i].text))
			return i;
	return UNLIMITED;
}

/* Makes a subflow one that is steered. */
static __always_inline struct steered *enroll(struct tcp_sock *tp, struct mptcp_subflow_context *subflow,
					      __u32 token)
{
	__u32 number = subflow_number(subflow), addresses = FIRST_ADDRESSES;
	struct connection *c;
	struct steered *s;

	bpf_map_update_elem(&connections, &token, &nothing_known, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&connections, &token);
	s = bpf_sk_storage_get(&subflows, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c || !s)
		return NULL;
	if (s->token)
		return s;
	/* mp_join of one that we open is set when the peer has answered. */
	if (BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join) ||
	    BPF_CORE_READ_BITFIELD_PROBED(subflow, request_join))
		addresses |= (__u8)local_address_id(subflow) << 8 | BPF_CORE_READ(subflow, remote_id);
	s->path = claim(c, number, addresses);
	if (s->path >= PATHS)
		return NULL;
	c->paths[within(s->path)].addresses = addresses;
	c->paths[within(s->path)].assigned = 0;
	c->paths[within(s->path)].lost = 0;
	c->paths[within(s->path)].full_since = 0;
	c->paths[within(s->path)].rate = 0;
	c->paths[within(s->path)].window_acked = tp->bytes_acked;
	c->paths[within(s->path)].window_at = bpf_ktime_get_ns();
	c->paths[within(s->path)].limit = UNLIMITED;
	c->paths[within(s->path)].not_sent = NOT_SENT;
	c->paths[within(s->path)].route = route_between((struct sock *)tp);
	measure(tp, &c->paths[within(s->path)], bpf_ktime_get_ns());
	for (__u32 i = 0; i < PATHS; i++)
		c->paths[i].base = c->paths[i].assigned;
	s->subflow = number;
	s->original = family_of(tp);
	s->token = token;
	return s;
}

/* The name that has init run. */
static __always_inline void other_name(struct steered *s, const struct policy *p, struct name *name)
{
	__u32 family = p->family;

	if (!family)
		family = s->original;
	if (!family || family >= FAMILIES)
		family = CUBIC;
	s->family = family;
	s->variant = !s->variant;
	if (s->variant)
		*name = *(struct name *)&names[family & 3][1];
	else
		*name = *(struct name *)&names[family & 3][0];
}

static __always_inline bool ours(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id) == cgroup_id;
}

/* Where is the subflow, as a context of sock_ops or as struct tcp_sock. */
static __always_inline void kick(void *where, struct steered *s, const struct policy *p)
{
	struct name name = {};

	other_name(s, p, &name);
	s->kicking = 1;
	bpf_setsockopt(where, SOL_TCP, TCP_CONGESTION, &name, sizeof(name));
	s->kicking = 0;
	s->deserted = 0;
}

/* Where is the subflow, as above. */
static __always_inline void follow(void *where, struct tcp_sock *tp, struct steered *s,
				   const struct policy *p, struct connection *c)
{
	s->asking = requesting(s->token);
	set_hooks(where, tp, hooks(tp, p, s->asking));
	if (s->generation == p->generation)
		return;
	s->generation = p->generation;
	s->rest_until = 0;
	s->answering = p->scheduler == SERVER;
	set_options(where, p, &s->options, &c->paths[within(s->path)].refused);
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
	if (!p)
		return;
	s = enroll(tp, subflow, token);
	c = bpf_map_lookup_elem(&connections, &token);
	if (!s || !c)
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
	struct mptcp_subflow_context *subflow;
	struct bpf_sock *sk;
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
	sk = ctx->sk;
	tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (!tp)
		return GO_ON;
	subflow = subflow_of(tp);
	if (!subflow)
		return GO_ON;
	if (ctx->op == BPF_SOCK_OPS_PARSE_HDR_OPT_CB)
		heard(tp);
	else
		established(ctx, tp, subflow);
	return GO_ON;
}

static __always_inline void let_go(struct tcp_sock *tp, struct steered *s)
{
	__u32 unlimited = UNLIMITED, not_sent = NOT_SENT, original = s->original;
	struct name name = kernel_names[original && original < FAMILIES ? original & 3 : CUBIC];
	const struct policy none = {};
	enum subflow_option refused = 0;

	bpf_setsockopt(tp, SOL_SOCKET, SO_MAX_PACING_RATE, &unlimited, sizeof(unlimited));
	bpf_setsockopt(tp, SOL_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	kick(tp, s, &none); /* the kernel's do not all begin with a rate */
	bpf_setsockopt(tp, SOL_TCP, TCP_CONGESTION, &name, sizeof(name));
	set_options(tp, &none, &s->options, &refused);
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
	__u32 token, skip = 0, limit;
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
	if (!s || !s->token) {
		s = enroll(tp, subflow, token);
		joins = true;
		if (s && s->path)
			__sync_fetch_and_add(&taken_up, 1);
	}
	c = bpf_map_lookup_elem(&connections, &token);
	if (!s || !c)
		return 0;
	c->waking = 0;
	if (joins && s->path && !c->paths[0].subflow) {
		s->deserted = 1;
		return 0;
	}
	follow(tp, tp, s, p, c);
	path = &c->paths[within(s->path)];
	judge(p, c, s->path, bpf_ktime_get_ns());
	limit = decide(p, c, s->path, bpf_ktime_get_ns());
	if (joins || s->deserted || (p->family && s->family != p->family) || (limit && !path->limit)) {
		kick(tp, s, p);
	} else if (!limit && path->limit) {
		path->limit = 0;
		bpf_setsockopt(tp, SOL_SOCKET, SO_MAX_PACING_RATE, &skip, sizeof(skip));
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
