/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Makes a subflow one that is steered: gives it a path, and the congestion control
 * that wraps its own. */

#ifndef TANDEM_ENROLL_H
#define TANDEM_ENROLL_H

/* Identifiers of the addresses of the first subflow, whose path is 0. */
#define FIRST_ADDRESSES (1 << 16)

/* What a connection knows of its subflows, which is nothing at first. */
static __always_inline struct connection *connection_by(__u32 token)
{
	struct connection *c = bpf_map_lookup_elem(&connections, &token);

	if (c)
		return c;
	bpf_map_update_elem(&connections, &token, &nothing_known, BPF_NOEXIST);
	return bpf_map_lookup_elem(&connections, &token);
}

/* One that a peer opens while a system call holds the connection has its number
 * when that ends (mptcp_finish_join). */
static __always_inline __u32 number_of(struct mptcp_subflow_context *subflow)
{
	__u32 number = subflow_number(subflow);

	return number ? number : UNNUMBERED;
}

static __always_inline __u32 addresses_of(struct mptcp_subflow_context *subflow)
{
	/* mp_join of one that we open is set when the peer has answered. */
	if (!BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join) &&
	    !BPF_CORE_READ_BITFIELD_PROBED(subflow, request_join))
		return FIRST_ADDRESSES;
	return FIRST_ADDRESSES | (__u8)local_address_id(subflow) << 8 | BPF_CORE_READ(subflow, remote_id);
}

/* Notes a subflow that was there before the policy; false if it was noted before,
 * or if there are too many. */
static __always_inline bool put_off_once(struct connection *c, __u32 number)
{
	for (__u32 i = 0; i < PATHS; i++) {
		if (c->late[i] == number)
			return false;
		if (!c->late[i]) {
			c->late[i] = number;
			return true;
		}
	}
	return false;
}

/* How many of the subflows that were there before the policy came before this one.
 * Apart from claim, which the verifier would go through once for each count. */
APART __u32 put_off_before(const struct connection *c, __u32 number)
{
	__u32 before = 0;

	if (!c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++)
		before += c->late[i] && c->late[i] < number;
	return before;
}

/* The path of a subflow: the one that it had before if it comes back, else a
 * new one, in the order in which subflows came, else one that is not in use.
 * PATHS if there is none. */
APART __u32 claim(struct connection *c, __u32 number, __u32 addresses)
{
	__u32 earlier;

	if (!c)
		return PATHS;
	for (__u32 i = 0; i < PATHS; i++)
		if (c->paths[i].addresses == addresses &&
		    !__sync_val_compare_and_swap(&c->paths[i].subflow, 0, number))
			return i;
	earlier = (addresses != FIRST_ADDRESSES) + put_off_before(c, number);
	for (__u32 i = 0; i < PATHS; i++)
		if (i >= earlier && !c->paths[i].addresses &&
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
					      struct connection *c, __u32 token)
{
	__u32 number = number_of(subflow), addresses = addresses_of(subflow);
	struct steered *s = bpf_sk_storage_get(&subflows, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!s)
		return NULL;
	if (s->token)
		return s;
	s->original = family_of(tp);
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
}

#endif
