/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Which paths come into question at all, and the times that all schedulers go
 * by. */

#ifndef TANDEM_FITNESS_H
#define TANDEM_FITNESS_H

#include "mptcp.h"
#include "policy.h"

#include <stdbool.h>

#define USEC_PER_SEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL
#define MS 1000000ULL
#define FULL_FOR (300 * MS)   /* a queue that never was empty for that long is full */
#define ROOM_FOR (1000 * MS)  /* a path is full until it was not for that long */
#define FRESH_FOR (1000 * MS) /* measurements of a path are current for that long */
#define RATE_OVER (50 * MS)    /* a rate is measured over that time */
#define RATE_FOR (500 * MS)   /* the highest rate counts for that long */
#define DWELL (100 * MS)      /* time between two choices by delay */
#define JITTER_US 20000
#define LONG_US 100000
#define BURST 65536	      /* MPTCP_SEND_BURST_SIZE of net/mptcp/protocol.c */
#define MOST_BURSTS 6	      /* eighths of its rate that a path ahead of its share loses at most */
#define LIKELY_RATE 125000    /* bytes/s, at least, of a path that is of use */
#define LEAST_RATE 20000      /* bytes/s of a path ahead of its share */

/* More than that waits in front of a subflow only if the scheduler has no other
 * choice: what waits there goes out on it, whatever is decided meanwhile. */
#define NOT_SENT (32 << 10)

/* Whether what a path has got waits for more than a round trip, or for a time that
 * is no jitter, however long a round trip is. */
static __always_inline bool queues(const struct path *path)
{
	__u32 trip = path->min_rtt_us < LONG_US ? path->min_rtt_us : LONG_US;

	return path->srtt_us > path->min_rtt_us + trip + JITTER_US;
}

/* Whether a path queues though it gets little. */
static __always_inline bool is_slow(const struct path *path)
{
	return path->rate && path->rate < LIKELY_RATE && queues(path);
}

static __always_inline __u32 within(__u32 path) { return path & (PATHS - 1); }

static __always_inline bool wanted(const struct policy *p, __u32 i)
{
	return p->limit[i] && (p->scheduler != WEIGHTED || p->weight[i]);
}

/* A path that is not wanted, or that has gone silent, carries new data only if
 * there is none better: connections never lose their last subflow. */
APART __u32 fitness(const struct policy *p, const struct connection *c, __u32 i)
{
	if (!p || !c || i >= PATHS || !c->paths[i].subflow)
		return 0;
	return 1 + 2 * wanted(p, i) + !c->paths[i].lost;
}

APART __u32 first_path(const struct policy *p, const struct connection *c)
{
	__u32 best = 0, first = 0;

	if (!p || !c)
		return 0;
	for (__u32 i = 0; i < PATHS; i++) {
		__u32 f = fitness(p, c, i);

		if (f > best) {
			best = f;
			first = i;
		}
	}
	return first;
}

#endif
