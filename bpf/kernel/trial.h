/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* How AUTO opens paths for bulk, tries one more, and closes it again. */

#ifndef TANDEM_TRIAL_H
#define TANDEM_TRIAL_H

#include "worth.h"

#define TRIAL (1000 * MS)    /* at least; the first half of a trial does not count */
#define DRAINS_WITHIN (5000 * MS) /* a path that another one is tried instead of, and first data */

/* What is known of a path that is not proven. */
enum { UNSEEN = 1, SEEN };

/* What paths that are open are to deliver for the last of them to be of use, in
 * bytes/s. */
APART __u64 needed(const struct connection *c)
{
	__u64 most = 0;

	if (!c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++)
		if (is_open(c, i) && c->paths[i].without > most)
			most = c->paths[i].without;
	return most;
}

/* What a path came to before it was full says little of what it could. */
static __always_inline void close_path(struct connection *c, __u32 i, __u64 now)
{
	const struct path *path = &c->paths[within(i)];
	struct route *route = route_of(path);

	if (route) {
		failed(&route->again, now);
		if (queues(path) || path->most > rate_of(route, now))
			learn(route, path->most, now);
	}
	c->open &= ~(1 << within(i));
	if (!c->open)
		c->open = 1 << within(c->alone - 1);
	if (c->open & (c->open - 1))
		c->before = needed(c);
	c->trial = 0;
	c->bad = 0;
	c->changed_at = now;
}

/* Nothing is under way, on paths that are not open, that others wait for. */
APART int drained(const struct connection *c)
{
	if (!c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++)
		if (!is_open(c, i) && c->paths[i].subflow && c->paths[i].unacked)
			return 0;
	return 1;
}

/* Beside others, with what the path is known to do. One that nothing is known of
 * gets its first data at a rate at which the kernel gives it nothing else until
 * that is gone. */
static __always_inline void open_path(struct connection *c, __u32 i, __u64 now)
{
	struct path *path = &c->paths[within(i)];
	const struct route *route = route_of(path);

	c->open |= 1 << within(i);
	c->changed_at = now;
	path->unproven = route && rate_of(route, now) ? 0 : UNSEEN;
	path->cap = path->unproven ? LIKELY_RATE : rate_of(route, now) / 4 * 3;
	if (path->cap < LEAST_RATE)
		path->cap = LEAST_RATE;
	path->growing = 1;
	path->most = 0;
	path->without = c->before;
}

/* The only path that is open, PATHS if there are more. */
APART __u32 only_path(const struct connection *c)
{
	__u32 found = PATHS;

	if (!c)
		return PATHS;
	for (__u32 i = 0; i < PATHS; i++) {
		if (!is_open(c, i))
			continue;
		if (found < PATHS)
			return PATHS;
		found = i;
	}
	return found;
}

/* Whether a path is tried instead of the others, not beside them. */
static __always_inline bool instead(const struct connection *c)
{
	return c->trial && c->open == 1U << within(c->trial - 1);
}

/* What paths deliver, given what they did before: a moment in which they deliver
 * less is not to have any other path look good. */
static __always_inline __u64 remembered(__u64 rate, __u64 before)
{
	return rate > before / 8 * 7 ? rate : before / 8 * 7;
}

/* Keeps what there is before one more path is opened, to compare with. Returns the
 * path that is open alone, PATHS if there are more. */
static __always_inline __u32 remember(struct connection *c, __u64 now)
{
	__u32 only = only_path(c);
	struct route *route;

	c->before = remembered((c->delivered + c->delivered_before) / 2, c->before);
	if (only >= PATHS)
		return PATHS;
	c->alone = only + 1;
	route = route_of(&c->paths[within(only)]);
	if (route) {
		c->before = remembered(c->before, rate_of(route, now));
		learn(route, c->before, now);
	}
	return only;
}

/* Where a path is so slow that all would wait for a burst on it, another is tried
 * instead. */
APART int begin_trial(struct connection *c, __u32 i, __u64 now)
{
	__u32 only;

	if (!c)
		return 0;
	only = remember(c, now);
	c->trial = i + 1;
	c->trial_half = 0;
	if (only < PATHS && holds_up(c, only, now))
		c->open = 0;
	open_path(c, i, now);
	if (instead(c))
		c->paths[within(i)].unproven = 0;
	return 0;
}

/* At an ACK on a path that is tried and that nothing was known of. It has proven
 * itself if it is seen to be of use, or if its first data is through, unless that
 * queued, and comes through so slowly that the path is of no use. */
APART int prove(struct connection *c, __u32 i, __u32 rtt_us, __u64 now)
{
	struct route *route;
	struct path *path;
	__u64 acked;

	if (!c)
		return 0;
	path = &c->paths[within(i)];
	if (!is_open(c, i) || instead(c)) {
		path->unproven = 0;
		return 0;
	}
	acked = path->assigned - path->unacked;
	if (path->unproven == UNSEEN) {
		if (acked == path->epoch_acked)
			return 0;
		path->unproven = SEEN;
		path->rate = 0;
		path->window_at = now;
		path->window_acked = acked;
	}
	if (path->rate && path->rate < useful(c) && rtt_us > path->min_rtt_us + JITTER_US) {
		path->unproven = 0;
		close_path(c, i, now);
		route = route_of(path);
		if (route)
			learn(route, path->rate, now);
	} else if (!path->unacked || (path->rate && path->rate >= useful(c))) {
		path->unproven = 0;
		if (path->rate > path->cap && path->rate < UNLIMITED)
			path->cap = path->rate;
		c->changed_at = now;
	}
	return 0;
}

/* Paths that have added to others before, and that nothing has to wait for. */
static __always_inline bool is_good(const struct connection *c, __u32 i, __u64 now)
{
	const struct route *route = route_of(&c->paths[within(i)]);

	return route && rate_of(route, now) && !route->again.failures && !is_useless(c, route, now) &&
	       !waiting(c, &c->paths[within(i)], route, now);
}

/* At the beginning of bulk: the path that there is, with those that are known to
 * be good; without it if it is known not to be. */
APART int begin_bulk(const struct policy *p, struct connection *c, __u32 fit, __u64 now)
{
	__u32 chosen;
	const struct route *route;

	if (!p || !c)
		return 0;
	chosen = within(c->chosen);
	route = route_of(&c->paths[chosen]);
	c->bulk_at = now;
	c->bad = 0;
	c->alone = chosen + 1;
	c->before = route ? rate_of(route, now) : 0;
	for (__u32 i = 0; i < PATHS; i++)
		if (i != chosen && fitness(p, c, i) == fit && is_good(c, i, now))
			open_path(c, i, now);
	if (c->open && route && route->again.failures)
		return 0;
	c->open |= 1 << chosen;
	c->paths[chosen].cap = 0;
	c->paths[chosen].without = 0;
	c->changed_at = now;
	c->peak = c->delivered;
	return 0;
}

/* Paths that are known to be good, as soon as nothing has to wait for them. */
APART int open_good(const struct policy *p, struct connection *c, __u32 fit, __u64 now)
{
	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		if (is_open(c, i) || fitness(p, c, i) != fit || !is_good(c, i, now))
			continue;
		remember(c, now);
		open_path(c, i, now);
		return 1;
	}
	return 0;
}

/* A trial counts from when the path has got what it can take. */
APART int judge_trial(struct connection *c, __u64 now)
{
	__u64 since, half, rate;
	struct route *route;
	struct path *path;
	__u32 i;

	if (!c)
		return 0;
	i = within(c->trial - 1);
	path = &c->paths[i];
	since = now - c->changed_at;
	half = path->srtt_us * 4000ULL;
	if (half < TRIAL / 2)
		half = TRIAL / 2;
	if (path->unproven || (instead(c) && !drained(c))) {
		if (since < DRAINS_WITHIN)
			return 0;
		close_path(c, i, now);
		return 0;
	}
	/* It is clear already: too little fits, or others wait. */
	if (!instead(c) && since > EPOCH && queues(path) && path->most < c->before / WORTH) {
		close_path(c, i, now);
		return 0;
	}
	if (!c->trial_half && !instead(c) && since > EPOCH && c->delivered < c->before / 2 && c->delivered_before < c->before) {
		close_path(c, i, now);
		return 0;
	}
	if (!c->trial_half && (since < half || (path->growing && since < 8 * half)))
		return 0;
	if (!c->trial_half) {
		c->trial_acked = c->acked;
		c->trial_half = now;
		return 0;
	}
	if (now - c->trial_half < half)
		return 0;
	rate = (c->acked - c->trial_acked) * NSEC_PER_SEC / (now - c->trial_half);
	if (rate < c->before + c->before / WORTH) {
		close_path(c, i, now);
		return 0;
	}
	route = route_of(path);
	if (route) {
		route->again.failures = 0;
		learn(route, path->most, now);
	}
	if (instead(c)) {
		route = route_of(&c->paths[within(c->alone - 1)]);
		if (route)
			failed(&route->again, now);
	}
	c->trial = 0;
	c->bad = 0;
	c->changed_at = now;
	return 0;
}

#endif
