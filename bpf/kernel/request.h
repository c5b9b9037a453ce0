/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Carries requests between the ends of a connection in TCP options: ours, an
 * experimental one (RFC 6994), and the User Timeout Option (RFC 5482). They go
 * out on pure ACKs, because a segment with data has no room beside MPTCP's DSS,
 * until the peer echoes them or they have been written often enough. What they
 * mean is up to user space.
 *
 * The hook for writing is on for the one ACK that is sent to carry a request, so
 * that it never runs for data. The hook for reading runs for every segment of a
 * subflow (the kernel has none for kinds that it does not know, other than for
 * MPTCP's own): it is on while an answer is waited for, and where peers may ask,
 * and has to be quick about segments without a request. */

#ifndef TANDEM_REQUEST_H
#define TANDEM_REQUEST_H

#include "decide.h"
#include "mptcp.h"
#include "sockops.h"

#define REQUESTS 8	  /* that a connection may have in flight */
#define EXPERIMENT 254	  /* option kind */
#define EXID 0x5444	  /* which experiment, "TD" */
#define OPTION_LENGTH 8	  /* kind, length, identifier, type, three bytes of value */
#define USER_TIMEOUT_KIND 28
#define USER_TIMEOUT_LENGTH 4
#define ECHO 0x80	  /* in the type */
#define TCP_HEADER 20	  /* without options */
#define TIMESTAMPS 12	  /* with what they are padded by */
#define TIMESTAMPS_BEGIN 0x0101080a /* NOP, NOP, kind 8, length 10 */
#define MPTCP_KIND 30
#define SURE 3		  /* writes, of which the peer has heard one */
#define WRITE_GAP (20 * MS) /* between two writes, with two round trips, for the echo */
#define EVENT_GAP (5 * MS)  /* between two events of a subflow */
#define EVENT_BURST 8	    /* events that may come at once */

/* An option, as it is in the TCP header. Data of EXPERIMENT are its identifier,
 * type and value. */
struct option {
	__u8 kind; /* 0 if there is none */
	__u8 length;
	__u8 data[6];
};

#define TYPE_AT 2

struct request {
	struct option option;
	__u64 next;    /* ns, when to write it again, or to give it up */
	__u32 left;    /* how often to write it yet */
	__u32 subflow; /* number of the only one to write it on, or 0 */
	__u32 written; /* how often it was */
	__u32 padding;
};

struct requests {
	struct request all[REQUESTS];
};

struct asked {
	__u32 token;
	__u32 subflow;
	struct option option;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 15);
	__type(key, __u32); /* token */
	__type(value, struct requests);
} outgoing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
	__type(value, struct asked);
} incoming SEC(".maps");

/* A subflow whose peer may ask. */
struct listening {
	__u64 next; /* ns, when the next event may come */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct listening);
} listeners SEC(".maps");

/* Whether peers that connect to us may ask. Set by user space. */
volatile __u32 honour;

/* Options that were not told: too many, or echoes of what was never asked. */
__u64 ignored;

/* The place of a request that is to be written on a subflow now, REQUESTS if
 * there is none. */
APART __u32 due(const struct requests *r, __u32 subflow, __u64 now)
{
	if (!r)
		return REQUESTS;
	for (__u32 i = 0; i < REQUESTS; i++) {
		const struct request *request = &r->all[i];

		if (request->option.kind && request->left && now >= request->next &&
		    (!request->subflow || request->subflow == subflow))
			return i;
	}
	return REQUESTS;
}

/* Whether there are requests that were not echoed, nor given up. */
APART int in_flight(const struct requests *r, __u64 now)
{
	if (!r)
		return 0;
	for (__u32 i = 0; i < REQUESTS; i++)
		if (r->all[i].option.kind && (r->all[i].left || now < r->all[i].next))
			return 1;
	return 0;
}

static __always_inline bool requesting(__u32 token)
{
	return in_flight(bpf_map_lookup_elem(&outgoing, &token), bpf_ktime_get_ns());
}

static __always_inline struct request *due_request(__u32 token, __u32 subflow)
{
	struct requests *r = bpf_map_lookup_elem(&outgoing, &token);
	__u32 place;

	if (!r)
		return NULL;
	place = due(r, subflow, bpf_ktime_get_ns());
	return place < REQUESTS ? &r->all[place] : NULL;
}

#define READ_HOOK BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG
#define WRITE_HOOK BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG

/* The hooks that a subflow needs, beside those of other programs. */
static __always_inline __u32 hooks(struct tcp_sock *tp, const struct policy *p, bool asking)
{
	__u32 others = tp->bpf_sock_ops_cb_flags & ~(READ_HOOK | WRITE_HOOK);

	if (asking || (p && p->scheduler == SERVER) || bpf_sk_storage_get(&listeners, tp, NULL, 0))
		return others | READ_HOOK;
	return others;
}

/* Where is the subflow, as a context of sock_ops or as struct tcp_sock. */
static __always_inline void set_hooks(void *where, struct tcp_sock *tp, __u32 wanted)
{
	if (wanted != tp->bpf_sock_ops_cb_flags)
		bpf_setsockopt(where, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &wanted, sizeof(wanted));
}

/* Writes a request that is due on an ACK of its own. It is put off if the ACK
 * has no room, which it has not while it tells of losses. */
static __always_inline void send_request(struct tcp_sock *tp, __u32 token, __u32 subflow)
{
	struct request *request = due_request(token, subflow);

	if (!request)
		return;
	set_hooks(tp, tp, tp->bpf_sock_ops_cb_flags | WRITE_HOOK);
	bpf_tcp_send_ack(tp, tp->rcv_nxt);
	set_hooks(tp, tp, tp->bpf_sock_ops_cb_flags & ~WRITE_HOOK);
	if (due_request(token, subflow) == request)
		request->next = bpf_ktime_get_ns() + WRITE_GAP;
}

/* Takes room in a packet that carries no data. */
static __always_inline void reserve_request(struct bpf_sock_ops *ctx, __u32 token, __u32 subflow)
{
	struct request *request;

	if (ctx->args[0] == BPF_WRITE_HDR_TCP_CURRENT_MSS || ctx->skb_len)
		return;
	request = due_request(token, subflow);
	if (request)
		bpf_reserve_hdr_opt(ctx, request->option.length, 0);
}

static __always_inline void write_request(struct bpf_sock_ops *ctx, struct tcp_sock *tp, __u32 token,
					  __u32 subflow)
{
	struct request *request = due_request(token, subflow);
	struct option option;

	if (!request)
		return;
	option = request->option;
	if (!bpf_store_hdr_opt(ctx, &option, option.kind == EXPERIMENT ? OPTION_LENGTH : USER_TIMEOUT_LENGTH, 0)) {
		request->left--;
		request->written++;
		request->next = bpf_ktime_get_ns() + WRITE_GAP + (tp->srtt_us >> 3) * 2000ULL;
	}
	/* There is nothing to wait for after an answer, or a timeout. */
	if (!request->left && (option.kind != EXPERIMENT || option.data[TYPE_AT] & ECHO))
		request->option.kind = 0;
}

/* The request that an echo is about, NULL if there is none: nothing answers one that
 * was not written yet. */
static __always_inline struct request *request_for(__u32 token, __u8 type)
{
	struct requests *r = bpf_map_lookup_elem(&outgoing, &token);

	if (!r)
		return NULL;
	for (__u32 i = 0; i < REQUESTS; i++) {
		struct request *request = &r->all[i];

		if (request->option.kind == EXPERIMENT && request->option.data[TYPE_AT] == type && request->written)
			return request;
	}
	return NULL;
}

/* Whether an echo is the answer to a request. If it says something else than what
 * was asked for, it may be a late one of an earlier request of that type, and the
 * peer may not have heard of this one: that was written a few times first. */
static __always_inline bool answers(const struct option *echo, const struct request *request)
{
	const __u8 *got = echo->data, *asked = request->option.data;

	return request->written >= SURE ||
	       (got[TYPE_AT + 1] == asked[TYPE_AT + 1] && got[TYPE_AT + 2] == asked[TYPE_AT + 2] &&
		got[TYPE_AT + 3] == asked[TYPE_AT + 3]);
}

static __always_inline void tell(struct tcp_sock *tp, const struct asked *asked)
{
	struct listening *l = bpf_sk_storage_get(&listeners, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 now = bpf_ktime_get_ns();

	if (!l)
		return;
	if (l->next < now)
		l->next = now;
	if (l->next > now + EVENT_BURST * EVENT_GAP ||
	    bpf_ringbuf_output(&incoming, (void *)asked, sizeof(*asked), 0)) {
		__sync_fetch_and_add(&ignored, 1);
		return;
	}
	l->next += EVENT_GAP;
}

static __always_inline void read_requests(struct bpf_sock_ops *ctx, struct tcp_sock *tp, __u32 token,
					  __u32 subflow)
{
	struct asked asked = { .token = token, .subflow = subflow };
	struct option *option = &asked.option;
	struct request *request;

	/* Looks for the kind and, as the length says, the two bytes behind it. */
	*option = (struct option){ .kind = EXPERIMENT, .length = 4, .data = { EXID >> 8, EXID & 0xff } };
	if (bpf_load_hdr_opt(ctx, option, sizeof(*option), 0) == OPTION_LENGTH) {
		if (option->data[TYPE_AT] & ECHO) {
			request = request_for(token, option->data[TYPE_AT] & ~ECHO);
			if (!request) {
				__sync_fetch_and_add(&ignored, 1);
			} else if (answers(option, request)) {
				request->option.kind = 0;
				tell(tp, &asked);
			}
		} else if (honour && subflow) {
			tell(tp, &asked);
		} else {
			/* On a subflow that has no number yet the peer asks once more. */
			__sync_fetch_and_add(&ignored, 1);
		}
	}
	*option = (struct option){ .kind = USER_TIMEOUT_KIND };
	if (honour && bpf_load_hdr_opt(ctx, option, sizeof(*option), 0) == USER_TIMEOUT_LENGTH)
		tell(tp, &asked);
}

/* Whether the options of a segment are timestamps, if at all, and one of MPTCP:
 * most are. Others are looked at closely. */
static __always_inline bool usual(const struct bpf_sock_ops *ctx, __u32 length)
{
	const __u8 *header = ctx->skb_data, *end = ctx->skb_data_end;

	if (header + TCP_HEADER + TIMESTAMPS + 2 > end)
		return false;
	if (header[TCP_HEADER] == MPTCP_KIND)
		return TCP_HEADER + header[TCP_HEADER + 1] == length;
	return *(const __be32 *)(header + TCP_HEADER) == bpf_htonl(TIMESTAMPS_BEGIN) &&
	       header[TCP_HEADER + TIMESTAMPS] == MPTCP_KIND &&
	       TCP_HEADER + TIMESTAMPS + header[TCP_HEADER + TIMESTAMPS + 1] == length;
}

SEC("sockops")
int tandem_request(struct bpf_sock_ops *ctx)
{
	struct mptcp_subflow_context *subflow;
	__u32 token, number, length;
	struct tcp_sock *tp;

	switch (ctx->op) {
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		length = ctx->skb_data_end - ctx->skb_data;
		/* No options of ours beside data. */
		if (ctx->skb_len > length || usual(ctx, length))
			return GO_ON;
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (!honour)
			return GO_ON;
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
		break;
	default:
		return GO_ON;
	}
	tp = subflow_socket(ctx);
	if (!tp)
		return GO_ON;
	subflow = subflow_of(tp);
	token = BPF_CORE_READ(subflow, token);
	number = subflow_number(subflow);
	switch (ctx->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		bpf_sk_storage_get(&listeners, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | READ_HOOK);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		reserve_request(ctx, token, number);
		break;
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
		write_request(ctx, tp, token, number);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		read_requests(ctx, tp, token, number);
		break;
	}
	return GO_ON;
}

#endif
