/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What a subflow does at its ACKs, when it has lost data, and when it ends: it
 * measures its path, and follows the decision about that. */

#ifndef TANDEM_STEER_H
#define TANDEM_STEER_H

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

/* Whether a connection has data that no path has got. */
static __always_inline bool keeps(const struct mptcp_sock *connection)
{
	return BPF_CORE_READ(connection, write_seq) != BPF_CORE_READ(connection, snd_nxt);
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
	/* Less than a segment may wait for an ACK only (Nagle). In front of a path where
	 * nothing is to wait it does in front of all. */
	if (not_sent < tp->mss_cache && !(path->not_sent == 1 && keeps(connection_of(tp))))
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

/* Learns the number of a subflow that had none yet. */
static __always_inline void number(struct tcp_sock *tp, struct steered *s, struct path *path)
{
	__u32 known;

	if (s->subflow != UNNUMBERED)
		return;
	known = subflow_number(subflow_of(tp));
	if (!known)
		return;
	s->subflow = known;
	path->subflow = known;
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
	number(tp, s, path);
	now = bpf_ktime_get_ns();
	if (acked) {
		path->lost = 0;
		measure(tp, path, now);
		if (path->unproven)
			prove(c, s->path, tp->rack.rtt_us, now);
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

/* How many times its congestion window a subflow may keep, and so its connection,
 * which may keep what all its subflows may (tcp_sndbuf_expand of
 * net/ipv4/tcp_input.c): what the kernel thinks, or more if others need that. */
static __always_inline __u32 windows_kept(struct sock *sk, __u32 usual)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct steered *s = bpf_sk_storage_get(&subflows, sk, NULL, 0);
	__u64 window = (__u64)tp->snd_cwnd * tp->mss_cache;
	const struct connection *c;

	if (!s || !window)
		return usual;
	c = bpf_map_lookup_elem(&connections, &s->token);
	if (!c || !c->open || c->room < usual * window)
		return usual;
	return c->room / window + 1;
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
	c->paths[within(s->path)].subflow = 0;
	for (__u32 i = 0; i < PATHS; i++)
		c->paths[i].base = c->paths[i].assigned;
	if (sk->__sk_common.skc_state == BPF_TCP_CLOSE) {
		look_after(p, c, s->token, within(s->path), bpf_ktime_get_ns());
		return;
	}
	/* The kernel does so with new subflows when options of the connection's
	 * socket were set (sync_socket_options). A walk has it join again; its end
	 * until then would be told to nobody. One that was asked for before may have
	 * passed this subflow, if it is new. */
	c->waking = 0;
	wake(c, s->token);
	s->token = 0;
}

#endif
