/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Which paths carry the next bytes. The kernel's scheduler skips a subflow
 * whose pacing rate is 0, and any rate above 0 is not exclusive. */

#ifndef TANDEM_DECIDE_H
#define TANDEM_DECIDE_H

#include "auto.h"
#include "fitness.h"

/* The queue of a path that was left alone has drained. */
static __always_inline __u32 delay_of(const struct path *path, __u64 now)
{
	return now - path->acked_at < FRESH_FOR ? path->srtt_us : path->min_rtt_us;
}

/* Changes its mind only for a path that is an eighth faster. */
APART int choose_fastest(const struct policy *p, struct connection *c, __u64 now)
{
	__u32 chosen, best, fit, least = UNLIMITED;
	bool keep;

	if (!p || !c)
		return 0;
	chosen = within(c->chosen);
	fit = fitness(p, c, first_path(p, c));
	keep = fitness(p, c, chosen) == fit;
	if (keep && now - c->chosen_at < DWELL)
		return 0;
	if (keep)
		least = delay_of(&c->paths[chosen], now) / 8 * 7;
	best = chosen;
	for (__u32 i = 0; i < PATHS; i++) {
		if (i == chosen || fitness(p, c, i) != fit)
			continue;
		if (delay_of(&c->paths[i], now) < least) {
			least = delay_of(&c->paths[i], now);
			best = i;
		}
	}
	if (best != chosen) {
		c->chosen = best;
		c->chosen_at = now;
	}
	return 0;
}

/* What a path ahead of its share may still send, in bytes/s: a bit less than its
 * share of what the slowest of the others, measured by weight, delivers, and the
 * less the farther it is ahead. That is of the highest rate of late, or two paths
 * would slow each other down in turn. A path that has just begun counts with what
 * its window would deliver, or the others would run away from it. */
APART __u32 share(const struct policy *p, const struct connection *c, __u32 me, __u64 now)
{
	__u64 mine, limit = UNLIMITED, progress;

	if (!p || !c)
		return 0;
	me = within(me);
	mine = p->weight[me];
	if (!mine)
		return UNLIMITED;
	progress = (c->paths[me].assigned - c->paths[me].base) * 1000 / mine;
	for (__u32 i = 0; i < PATHS; i++) {
		const struct path *other = &c->paths[i];
		__u64 weight = p->weight[i], theirs, rate, bursts;

		if (i == me || !weight || !other->subflow || now - other->acked_at > FRESH_FOR)
			continue;
		theirs = (other->assigned - other->base) * 1000 / weight;
		if (progress <= theirs)
			continue;
		bursts = (progress - theirs) * mine / (BURST * 1000);
		if (!bursts)
			continue;
		rate = (other->rate ? other->rate : other->likely_rate) * mine / weight;
		rate = rate / 8 * (8 - (bursts < MOST_BURSTS ? bursts : MOST_BURSTS));
		if (rate < LEAST_RATE)
			rate = LEAST_RATE;
		if (rate < limit)
			limit = rate;
	}
	return limit;
}

/* Whether all paths before this one have been full, or still count as such. */
APART int overflowing(const struct policy *p, const struct connection *c, __u32 me,
					__u32 fit, __u64 now)
{
	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		if (i >= me)
			break;
		if (fitness(p, c, i) != fit)
			continue;
		if (!c->paths[i].full_at || now - c->paths[i].full_at > ROOM_FOR)
			return 0;
	}
	return 1;
}

/* The rate that a path may have, in bytes/s; 0 has it skipped. */
APART __u32 decide(const struct policy *p, const struct connection *c, __u32 me, __u64 now)
{
	__u32 first, fit, chosen, limit = UNLIMITED;

	if (!p || !c)
		return 0;
	me = within(me);
	first = first_path(p, c);
	fit = fitness(p, c, first);
	chosen = within(c->chosen);
	if (fitness(p, c, me) < fit)
		return 0;
	if (fitness(p, c, chosen) < fit)
		chosen = first;
	switch (p->scheduler) {
	case DEFAULT:
		break;
	case PRIMARY:
		if (me != first && !(p->delay_threshold_us && c->slow))
			return 0;
		break;
	case SMALLEST_DELAY:
	case SERVER:
		if (me != chosen)
			return 0;
		break;
	case WEIGHTED:
		limit = share(p, c, me, now);
		break;
	case OVERFLOW:
		if (!overflowing(p, c, me, fit, now))
			return 0;
		break;
	case AUTO:
		limit = auto_rate(p, c, me, fit);
		if (!limit)
			return 0;
		break;
	}
	if (p->delay_threshold_us && me != first && !c->slow)
		return 0;
	/* A draining path gets here only if nothing else is left. */
	if (p->limit[me] && p->limit[me] < limit)
		limit = p->limit[me];
	return limit;
}

#endif
