/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What user space and the programs that steer connections tell each other. */

#ifndef TANDEM_POLICY_H
#define TANDEM_POLICY_H

#include <linux/types.h>

#define PATHS 8
#define UNLIMITED 0xffffffff

enum scheduler {
	DEFAULT,
	PRIMARY,
	SMALLEST_DELAY,
	WEIGHTED,
	SERVER,
	OVERFLOW,
};

/* Congestion controls that can be wrapped. */
enum family {
	AS_IT_IS,
	RENO,
	CUBIC,
	BBR,
	FAMILIES,
};

/* Socket options of a subflow. */
enum subflow_option {
	INITIAL_WINDOW = 1,
	USER_TIMEOUT = 2,
	DELAYED_ACK = 4,
};

/* What is asked of a connection, written by user space only. */
struct policy {
	__u32 generation; /* changes with every change */
	enum scheduler scheduler;
	enum family family;
	__u32 delay_threshold_us; /* 0 is none */
	__u32 limit[PATHS];	  /* bytes/s, UNLIMITED, or 0 to drain */
	__u8 weight[PATHS];
	__u32 initial_window;  /* segments; 0 is the kernel's */
	__u32 user_timeout_ms; /* 0 is the kernel's */
	__u32 delayed_ack_us;  /* 0 is the kernel's */
};

/* A path of a connection, kept while its subflow comes and goes. */
struct path {
	__u32 subflow;	 /* number of the live subflow, 0 if there is none */
	__u32 addresses; /* identifiers of both, to know it again; 0 is free */
	__u64 assigned;	 /* bytes that the scheduler put on it */
	__u64 base;	 /* assigned when shares began to count */
	__u64 rate;	 /* delivered, bytes/s, the highest of late */
	__u64 rate_at;	 /* ns, when it was that */
	__u64 window_at; /* ns, begin of the present measurement of the rate */
	__u64 window_acked; /* bytes acknowledged until then */
	__u64 acked_at;	 /* ns, last sign of life */
	__u64 full_since; /* ns, 0 while its queue runs empty at times */
	__u64 full_at;	 /* ns, when it was last full for long */
	__u32 srtt_us;
	__u32 min_rtt_us;
	__u32 limit;	/* in force: bytes/s, 0 is skipped, or UNLIMITED */
	__u32 unacked;	/* bytes assigned and not acknowledged */
	__u8 lost;	/* retransmission timer fired since the last ACK */
	__u8 padding[3];
	enum subflow_option refused; /* bits, those that the kernel did not take */
};

/* What the programs know of a connection. */
struct connection {
	struct path paths[PATHS];
	__u64 chosen_at; /* ns */
	__u32 generation;
	__u32 waking; /* user space was asked to kick */
	__u32 chosen; /* path, by SMALLEST_DELAY and SERVER */
	__u32 slow;   /* the first path is above the delay threshold */
};

#endif
