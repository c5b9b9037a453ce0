/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What events.bpf.c tells user space. */

#ifndef TANDEM_EVENTS_H
#define TANDEM_EVENTS_H

#include <linux/in6.h>
#include <linux/types.h>

enum kind {
	ESTABLISHED = 1, /* connection, with its first subflow */
	JOINED,		 /* another subflow */
	JOIN_FAILED,	 /* one that we tried to open */
	SUBFLOW_CLOSED,
	RTT_CROSSED,   /* by a subflow; above says in which direction */
	BYTES_REACHED, /* by a connection */
	CLOSED,	       /* connection */
};

/* Why a subflow ended. */
enum reason {
	FIN = 1,
	RESET_RECEIVED,
	RESET_SENT,
	TIMEOUT,
};

struct event {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u64 lost; /* events that did not fit into the ring before this one */
	enum kind kind;
	__u32 token; /* local token of the connection */

	/* The rest is about a subflow, and 0 for CLOSED. */
	__u32 subflow; /* 1 is the first */
	__s16 local_id;
	__u8 remote_id;
	__u8 backup;  /* as the peer, or we, asked for */
	__u8 passive; /* ESTABLISHED and JOINED: opened by the peer */
	__u8 above;   /* RTT_CROSSED */
	__u16 local_port;  /* host byte order */
	__u16 remote_port; /* host byte order */
	__u16 padding;
	struct in6_addr local;
	struct in6_addr remote;
	enum reason reason; /* JOIN_FAILED and SUBFLOW_CLOSED */
	__s32 error;	    /* errno of the socket, or 0 */
	__u64 bytes_sent;   /* without retransmissions */
	__u64 bytes_retransmitted;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 srtt_us;
	__u32 padding2;
};

/* What user space wants to be told about a connection; 0 is nothing. */
struct watch {
	__u64 bytes; /* acknowledged and received; 0 once told */
	__u32 rtt_us;
	__u32 padding;
};

#endif
