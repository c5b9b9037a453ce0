/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What AUTO knows of pairs of addresses, for all connections of the process: what
 * one has found out, others need not try. They are told apart by a hash; two
 * that share a place are only tried less often. */

#ifndef TANDEM_ROUTE_H
#define TANDEM_ROUTE_H

#include "fitness.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define ROUTES 256
#define KNOWN_FOR (600000 * MS) /* a rate that was measured */
#define PATIENCE (1000 * MS)    /* doubles with each failure */
#define MOST_FAILURES 8		/* that is 256 s */

struct route {
	struct again again;
	__u64 rate; /* bytes/s, 0 is not known */
	__u64 rate_at;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROUTES);
	__type(key, __u32);
	__type(value, struct route);
} routes SEC(".maps");

static __always_inline bool may_retry(const struct again *again, __u64 now)
{
	return now >= again->after;
}

static __always_inline void failed(struct again *again, __u64 now)
{
	if (again->failures < MOST_FAILURES)
		again->failures++;
	again->after = now + (PATIENCE << (again->failures & 15));
}

static __always_inline struct route *route_of(const struct path *path)
{
	__u32 route = path->route;

	return bpf_map_lookup_elem(&routes, &route);
}

/* Bytes/s, 0 if it is not known. */
static __always_inline __u64 rate_of(const struct route *route, __u64 now)
{
	return now - route->rate_at < KNOWN_FOR ? route->rate : 0;
}

static __always_inline void learn(struct route *route, __u64 rate, __u64 now)
{
	route->rate = rate;
	route->rate_at = now;
}

/* Each bit of the word counts for all of the result (addresses may differ in one
 * only). */
static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

/* The place of a subflow. */
static __always_inline __u32 route_between(const struct sock *sk)
{
	__u32 hash = mix(BPF_CORE_READ(sk, __sk_common.skc_daddr), BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));

	for (int i = 0; i < 4; i++) {
		hash = mix(hash, BPF_CORE_READ(sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32[i]));
		hash = mix(hash, BPF_CORE_READ(sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i]));
	}
	return hash % ROUTES;
}

#endif
