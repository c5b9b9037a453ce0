/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* The scheduler AUTO: several paths are never to be worse than the best of them
 * alone.
 *
 * As long as a connection has little to send it uses one path, that with the
 * smallest delay. Once that is full, others are tried, one at a time: what is
 * acknowledged on all paths is compared with what it was before, which is less if
 * one stands still because the window is full of what waits for another. A path
 * that adds to it stays, another one is left alone for a time that doubles with
 * each failure. So a path that hurts costs one trial now and then, and a path is
 * not tried at all as long as the window of the connection could not bridge its
 * delay. What has worked before, between the same addresses, is used as soon as
 * that is so. */

#ifndef TANDEM_AUTO_H
#define TANDEM_AUTO_H

#include "trial.h"

#define BAD_EPOCHS 5	     /* in a row: a path that was taken hurts */
#define MOST_NOT_SENT (1 << 20)

/* The open path that delivers least. */
APART __u32 weakest(const struct connection *c)
{
	__u32 found = 0;
	__u64 least = ~0ULL;

	if (!c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		if (is_open(c, i) && c->paths[i].rate < least) {
			least = c->paths[i].rate;
			found = i;
		}
	}
	return found;
}

/* The kernel's scheduler believes the rate of a path: what it has put on one that
 * is slower than that holds up all others. So paths beside the first begin with
 * little, get twice or four times as much as long as they keep up with it, and not
 * quite what they deliver once they queue; but half of the most that they did, since
 * what they have got already is sent no faster than that either. In an epoch that is
 * shorter than a round trip ACKs may not come. */
static __always_inline void set_cap(struct path *path, __u64 rate)
{
	__u64 kept = rate, least = path->most / 2 > LEAST_RATE ? path->most / 2 : LEAST_RATE;

	path->growing = 0;
	if (!path->cap)
		return;
	if (path->srtt_us * 1000ULL > EPOCH && path->rate > kept)
		kept = path->rate;
	if (queues(path)) {
		if (rate && rate / 8 * 7 < path->cap)
			path->cap = rate / 8 * 7;
		if (path->cap < least)
			path->cap = least;
	} else if (kept >= path->cap / 4 * 3 && path->cap < UNLIMITED / 4) {
		path->cap *= path->srtt_us < path->min_rtt_us + 5000 ? 4 : 2;
		path->growing = 1;
	}
}

/* What was acknowledged on a path in an epoch of that length, in bytes. */
APART __u64 account(struct path *path, __u64 time)
{
	__u64 acked, bytes, rate;

	if (!path)
		return 0;
	acked = path->assigned - path->unacked;
	bytes = acked > path->epoch_acked ? acked - path->epoch_acked : 0; /* or it is a new subflow */
	path->epoch_acked = acked;
	rate = bytes * NSEC_PER_SEC / time;
	if (rate > path->most)
		path->most = rate;
	set_cap(path, rate);
	return bytes;
}

/* What is acknowledged does not grow any more, and nobody waits for what a path
 * that is not open has yet to deliver. */
APART int settled(struct connection *c, __u64 now)
{
	__u64 since;
	bool growing;

	if (!c)
		return 0;
	since = now - c->changed_at;
	growing = c->delivered / 8 * 7 > c->peak;
	if (c->delivered > c->peak || since < EPOCH)
		c->peak = c->delivered;
	return since >= EPOCH && (since >= UNSETTLED || !growing) && drained(c);
}

/* At the end of an epoch. */
APART int think(const struct policy *p, struct connection *c, __u64 now)
{
	__u32 i, fit;

	if (!p || !c)
		return 0;
	fit = fitness(p, c, first_path(p, c));
	for (i = 0; i < PATHS; i++)
		if (fitness(p, c, i) != fit)
			c->open &= ~(1 << i);
	if (c->trial && !is_open(c, c->trial - 1))
		c->trial = 0;
	if (!bulky(c, now) && !(c->backlog && (c->trial || !drained(c)))) {
		c->open = 0;
		c->trial = 0;
		return 0;
	}
	make_room(p, c, fit, now);
	if (!c->open)
		begin_bulk(p, c, fit, now);
	else if (c->trial)
		return judge_trial(c, now);
	else if (open_good(p, c, fit, now))
		return 0;
	i = only_path(c);
	c->bad = i >= PATHS && c->delivered < c->before ? c->bad + 1 : 0;
	if (c->bad >= BAD_EPOCHS)
		close_path(c, weakest(c), now);
	if (c->bad || (!settled(c, now) && !(i < PATHS && holds_up(c, i, now))))
		return 0;
	i = candidate(p, c, now);
	if (i < PATHS)
		begin_trial(c, i, now);
	return 0;
}

/* What the connection as a whole has come to. Whoever is first after an epoch
 * does the thinking. */
static __always_inline void observe(const struct policy *p, struct connection *c, const struct mptcp_sock *connection,
				    __u64 now)
{
	__u64 epoch = c->epoch_at, time = now - epoch, acked = 0;

	if (time < EPOCH || __sync_val_compare_and_swap(&c->epoch_at, epoch, now) != epoch)
		return;
	c->accepted = BPF_CORE_READ(connection, wnd_end) - BPF_CORE_READ(connection, snd_una);
	c->window = BPF_CORE_READ((const struct sock *)connection, sk_sndbuf);
	if (c->accepted < c->window)
		c->window = c->accepted;
	c->backlog = BPF_CORE_READ(connection, write_seq) != BPF_CORE_READ(connection, snd_una);
	for (__u32 i = 0; i < PATHS; i++)
		acked += account(&c->paths[i], time);
	c->delivered_before = c->delivered;
	c->delivered = epoch ? acked * NSEC_PER_SEC / time : 0;
	c->acked += acked;
	think(p, c, now);
}

/* How much may wait in front of a path. The kernel's scheduler gives data to the
 * path that will have sent what it has first, and to none if that one is full. So
 * as much has to wait in front of a fast path as it sends while data travels on
 * the slowest; in front of one that is tried, or that is closed and gets what the
 * kernel puts on it nevertheless, as little as possible, and so in front of one
 * that nobody knows yet to be fast. */
APART __u32 not_sent_of(const struct connection *c, __u32 me)
{
	__u32 slowest = 0, open;
	__u64 bytes;

	if (!c)
		return NOT_SENT;
	me = within(me);
	open = c->open ? c->open : 1U << within(c->chosen);
	if (!(open >> me & 1) || c->trial == me + 1 || c->paths[me].rate < LIKELY_RATE)
		return 1;
	for (__u32 i = 0; i < PATHS; i++)
		if (open >> i & 1 && !c->paths[i].unproven && c->paths[i].srtt_us > slowest)
			slowest = c->paths[i].srtt_us;
	if (slowest <= c->paths[me].srtt_us)
		return NOT_SENT;
	bytes = c->paths[me].rate * (slowest - c->paths[me].srtt_us) / USEC_PER_SEC + NOT_SENT;
	return bytes < MOST_NOT_SENT ? bytes & ~(NOT_SENT - 1ULL) : MOST_NOT_SENT;
}

/* The rate that a path may have, 0 for one that is not in use. */
APART __u32 auto_rate(const struct policy *p, const struct connection *c, __u32 me, __u32 fit)
{
	__u32 open = 0, chosen;

	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++)
		if (is_open(c, i) && fitness(p, c, i) == fit)
			open |= 1 << i;
	if (open) {
		if (!(open >> within(me) & 1))
			return 0;
		/* The last one has nobody to hold up. */
		if (!(open & (open - 1)))
			return UNLIMITED;
		if (c->paths[within(me)].unproven)
			return c->paths[within(me)].unacked ? UNLIMITED : LEAST_RATE;
		return c->paths[within(me)].cap ? c->paths[within(me)].cap : UNLIMITED;
	}
	chosen = within(c->chosen);
	if (fitness(p, c, chosen) < fit)
		chosen = first_path(p, c);
	return me == chosen ? UNLIMITED : 0;
}

#endif
