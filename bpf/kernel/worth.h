/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Which paths AUTO has carry bulk, or tries for it: what is known of them, and what
 * a trial would cost. */

#ifndef TANDEM_WORTH_H
#define TANDEM_WORTH_H

#include "calm.h"
#include "fitness.h"
#include "route.h"

#define EPOCH (200 * MS)     /* deliveries are looked at over that time */
#define FIRST_DATA (32 << 10) /* goes on a path when it is tried, and once more when it is closed again */
#define UNSETTLED (2000 * MS) /* for that long at most one waits for rate and window to stop growing */
#define MOST_ROOM (8 << 20)
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

/* The least that is of use beside what is there, in bytes/s. */
static __always_inline __u64 useful(const struct connection *c) { return reached_by(c) / WORTH; }

/* How long the first data on a path takes, in ns. A path whose rate is not known is
 * taken for the slowest that is of use, within reason, and once the window had time
 * to grow for one that is. */
static __always_inline __u64 takes(const struct connection *c, const struct path *path,
				   const struct route *route, __u64 now)
{
	__u64 rate = rate_of(route, now);

	if (!rate)
		rate = now - c->bulk_at < UNSETTLED ? useful(c) : reached_by(c) / 4;
	if (rate < LIKELY_RATE && !rate_of(route, now))
		rate = LIKELY_RATE;
	return FIRST_DATA * NSEC_PER_SEC / rate + path->srtt_us * 1000ULL;
}

/* For how long others would have to wait for that, beyond what the window of the
 * connection bridges. */
static __always_inline __u64 waiting(const struct connection *c, const struct path *path,
				     const struct route *route, __u64 now)
{
	__u64 time = takes(c, path, route, now), bridged, reached = reached_by(c);

	if (!reached)
		return 0;
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

	return rate && rate < useful(c);
}

/* The kernel lets a connection keep as much as its paths have under way, each for
 * itself. To go on while data travels on the slowest, the others need more, as far
 * as the peer has room for it: what it has not waits here, and comes later for it. */
APART int make_room(const struct policy *p, struct connection *c, __u32 fit, __u64 now)
{
	__u64 room = 0, reached = reached_by(c);

	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		const struct path *path = &c->paths[i];
		const struct route *route = route_of(path);
		__u64 bytes;

		if (!route || fitness(p, c, i) != fit || (!is_open(c, i) && is_useless(c, route, now)))
			continue;
		bytes = takes(c, path, route, now) / USEC_PER_SEC * reached / 1000;
		if (bytes > room)
			room = bytes;
	}
	if (room > c->accepted)
		room = c->accepted;
	c->room = room < MOST_ROOM ? room : MOST_ROOM;
	return 0;
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
