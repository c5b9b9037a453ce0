/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Which paths AUTO has carry bulk, or tries for it: what is known of them, and what
 * a trial would cost. */

#ifndef TANDEM_WORTH_H
#define TANDEM_WORTH_H

#include "calm.h"
#include "fitness.h"
#include "route.h"

#define EPOCH (200 * MS)     /* deliveries are looked at over that time */
#define FIRST_DATA (32 << 10) /* goes on a path at least when it is tried */
#define WORTH 25	     /* that part of what is delivered at least has a path to add */
#define REGRET 50	     /* that part of its time at most may bulk lose by a trial, as far as known before */

static __always_inline bool is_open(const struct connection *c, __u32 i)
{
	return c->open >> within(i) & 1;
}

/* Whether a path that is open has been full lately: there is more to send than
 * fits. */
APART int bulky(const struct connection *c, __u64 now)
{
	if (!c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		const struct path *path = &c->paths[i];

		if ((c->open ? is_open(c, i) : i == within(c->chosen)) &&
		    path->full_at && now - path->full_at < ROOM_FOR)
			return 1;
	}
	return 0;
}

/* What the open paths deliver when nothing has to be waited for. */
APART __u64 reached_by(const struct connection *c)
{
	__u64 most;

	if (!c)
		return 0;
	most = c->delivered > c->before ? c->delivered : c->before;
	for (__u32 i = 0; i < PATHS; i++)
		if ((is_open(c, i) || (!c->open && i == within(c->chosen))) && c->paths[i].rate > most)
			most = c->paths[i].rate;
	return most;
}

/* For how long others would have to wait for the first data on a path, beyond
 * what the window of the connection bridges, in ns. A path whose rate is not
 * known is taken for one of use. The kernel puts some more on a path after it was
 * closed. */
static __always_inline __u64 waiting(const struct connection *c, const struct path *path,
				     const struct route *route, __u64 now)
{
	__u64 rate = rate_of(route, now), first = 2 * FIRST_DATA, time, bridged, reached = reached_by(c);

	if (!rate) {
		first = FIRST_DATA;
		rate = reached / 4;
		if (rate < LIKELY_RATE)
			rate = LIKELY_RATE;
	}
	if (!reached)
		return 0;
	time = first * NSEC_PER_SEC / rate + path->srtt_us * 1000ULL;
	bridged = c->window * NSEC_PER_SEC / reached;
	return time > bridged ? time - bridged : 0;
}

/* Whether a path that is open alone queues, and gets so little that all would wait
 * for a burst on it. */
static __always_inline bool holds_up(const struct connection *c, __u32 i, __u64 now)
{
	const struct path *path = &c->paths[within(i)];

	return is_slow(path) && path->full_at && now - path->full_at < 2 * EPOCH;
}

/* Whether a path is known to have too little. */
static __always_inline bool is_useless(const struct connection *c, const struct route *route, __u64 now)
{
	__u64 rate = rate_of(route, now);

	return rate && rate < reached_by(c) / WORTH;
}

/* A path that is worth a try, PATHS if there is none. */
APART __u32 candidate(const struct policy *p, const struct connection *c, __u64 now)
{
	__u32 fit, found = PATHS, least = UNLIMITED;

	if (!p || !c)
		return PATHS;
	fit = fitness(p, c, first_path(p, c));
	for (__u32 i = 0; i < PATHS; i++) {
		const struct path *path = &c->paths[i];
		const struct route *route = route_of(path);

		if (is_open(c, i) || fitness(p, c, i) != fit)
			continue;
		if (!route || !may_retry(&route->again, now) || is_useless(c, route, now))
			continue;
		if (waiting(c, path, route, now) > (now - c->bulk_at) / REGRET)
			continue;
		if (path->srtt_us < least) {
			least = path->srtt_us;
			found = i;
		}
	}
	return found;
}

#endif
