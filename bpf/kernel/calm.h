/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Which path AUTO uses for a connection that has little to send: that with the
 * smallest delay, without what the connection itself queues. */

#ifndef TANDEM_CALM_H
#define TANDEM_CALM_H

#include "fitness.h"
#include "route.h"

#define WORTH_US 3000	     /* a path has to be faster by that, and a quarter */
#define CALM_BYTES 16384     /* on the way at most, while delay is not of our own making */
#define CALMS 8		     /* samples at least, since ACKs may be delayed */
#define CALM_OVER (200 * MS) /* the smallest RTT of that time is the delay of a path */

/* Delay without what we queue ourselves: from samples of the RTT while little is
 * on the way, and was when they were sent. */
static __always_inline void note_rtt(struct path *path, __u32 rtt_us, __u64 now)
{
	if (path->unacked > CALM_BYTES)
		path->busy_at = now;
	if (!rtt_us || now - path->busy_at < path->srtt_us * 2000ULL)
		return;
	if (path->calms < CALMS)
		path->calms++;
	if (now - path->calm_at > CALM_OVER) {
		path->calm_us[1] = path->calm_us[0] && path->calm_at ? path->calm_us[0] : rtt_us;
		path->calm_us[0] = rtt_us;
		path->calm_at = now;
	} else if (rtt_us < path->calm_us[0]) {
		path->calm_us[0] = rtt_us;
	}
}

/* Of a path that is not in use: what it was when it was left, and after a while
 * the smallest that is known, so that it has another chance. */
static __always_inline __u32 calm_delay(const struct path *path, bool in_use, __u64 now)
{
	__u32 us = path->calm_us[0] < path->calm_us[1] ? path->calm_us[0] : path->calm_us[1];

	if (path->calms < CALMS || (!in_use && may_retry(&path->thin, now)))
		us = path->min_rtt_us;
	return us;
}

/* Whether a path is known to have much more room than another one, which is not
 * notably faster for what is little. */
static __always_inline bool roomier(const struct path *path, __u32 us, const struct path *other, __u32 other_us,
				    __u64 now)
{
	const struct route *route = route_of(path), *others = route_of(other);

	if (!route || !others || us > other_us / 4 * 5 + WORTH_US)
		return false;
	return rate_of(others, now) && rate_of(route, now) / 4 > rate_of(others, now);
}

/* The path for a connection with little to send. */
APART int choose_calm(const struct policy *p, struct connection *c, __u64 now)
{
	__u32 chosen, best, fit, mine, least = UNLIMITED;
	bool keep;

	if (!p || !c)
		return 0;
	chosen = within(c->chosen);
	fit = fitness(p, c, first_path(p, c));
	keep = fitness(p, c, chosen) == fit;
	mine = calm_delay(&c->paths[chosen], true, now);
	if (keep) {
		if (now - c->chosen_at < DWELL || c->paths[chosen].acked_at < c->chosen_at)
			return 0;
		if (mine < c->left_us)
			c->paths[chosen].thin.failures = 0;
		least = mine / 4 * 3 > WORTH_US ? mine / 4 * 3 - WORTH_US : 0;
		if (c->paths[chosen].calms < CALMS)
			least = 0; /* too little is known against it */
	}
	best = chosen;
	for (__u32 i = 0; i < PATHS; i++) {
		__u32 us;

		if (i == chosen || fitness(p, c, i) != fit)
			continue;
		us = calm_delay(&c->paths[i], false, now);
		if (keep && best == chosen && roomier(&c->paths[i], us, &c->paths[chosen], mine, now)) {
			best = i;
			break;
		}
		if (us < least) {
			least = us;
			best = i;
		}
	}
	if (best == chosen)
		return 0;
	if (keep)
		failed(&c->paths[chosen].thin, now);
	c->left_us = keep ? mine : UNLIMITED;
	c->chosen = best;
	c->chosen_at = now;
	return 0;
}

#endif
