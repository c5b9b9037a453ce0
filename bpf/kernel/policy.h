/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* What user space and the programs that steer connections tell each other. */

#ifndef TANDEM_POLICY_H
#define TANDEM_POLICY_H

#include "options.h"

#define PATHS 8
#define UNLIMITED 0xffffffff
#define UNNUMBERED 0xffffffff

enum scheduler {
	DEFAULT,
	PRIMARY,
	SMALLEST_DELAY,
	WEIGHTED,
	SERVER,
	OVERFLOW,
	AUTO,
};

/* Congestion controls that can be wrapped. */
enum family {
	AS_IT_IS,
	RENO,
	CUBIC,
	BBR,
	FAMILIES,
};

/* What is asked of a connection, written by user space only. */
struct policy {
	__u32 generation; /* changes with every change */
	enum scheduler scheduler;
	enum family family;
	__u32 delay_threshold_us; /* 0 is none */
	__u32 limit[PATHS];	  /* bytes/s, UNLIMITED, or 0 to drain */
	__u8 weight[PATHS];
	struct subflow_options options;
};

/* When something that failed may be tried again. */
struct again {
	__u64 after; /* ns */
	__u32 failures;
	__u32 padding;
};

/* A path of a connection, kept while its subflow comes and goes. */
struct path {
	__u32 subflow;	 /* number of the live subflow, 0 if there is none, or UNNUMBERED */
	__u32 addresses; /* identifiers of both, to know it again; 0 is free */
	__u64 assigned;	 /* bytes that the scheduler put on it */
	__u64 base;	 /* assigned when shares began to count */
	__u64 rate;	 /* delivered, bytes/s, the highest of late */
	__u64 rate_at;	 /* ns, when it was that */
	__u64 likely_rate; /* bytes/s, a window in a round trip */
	__u64 window_at; /* ns, begin of the present measurement of the rate */
	__u64 window_acked; /* bytes acknowledged until then */
	__u64 acked_at;	 /* ns, last sign of life */
	__u64 full_since; /* ns, 0 while its queue runs empty at times */
	__u64 full_at;	 /* ns, when it was last full for long */
	__u64 calm_at;	 /* ns, begin of the present time for calm_us */
	__u64 busy_at;	 /* ns, when there was last too much on the way for calm_us */
	struct again thin; /* AUTO: as the only path */
	__u64 epoch_acked; /* AUTO: bytes acknowledged until the end of the last epoch */
	__u64 most;	  /* AUTO: bytes/s, in the best epoch since it was tried */
	__u64 without;	  /* AUTO: bytes/s of the others, before it was opened beside them */
	__u32 cap;	  /* AUTO: bytes/s beside others, 0 is none */
	__u32 growing;	  /* AUTO: the cap was just raised */
	__u32 route;	  /* AUTO: place in routes */
	__u32 not_sent;	  /* AUTO: how much may wait in front of it */
	__u32 calm_us[2]; /* smallest RTT of the present and the last short time */
	__u32 calms;	  /* samples for them, CALMS at most */
	__u32 srtt_us;
	__u32 min_rtt_us;
	__u32 limit;	/* in force: bytes/s, 0 is skipped, or UNLIMITED */
	__u32 unacked;	/* bytes assigned and not acknowledged */
	__u8 lost;	/* retransmission timer fired since the last ACK */
	__u8 padding[3];
	__u32 refused; /* bits by enum subflow_option, those that the kernel did not take */
	__u32 unproven; /* AUTO: it is tried, and as little as can be goes on it until its rate is known */
};

/* What the programs know of a connection. */
struct connection {
	struct path paths[PATHS];
	__u64 chosen_at; /* ns */
	/* Of AUTO: */
	__u64 epoch_at;	  /* ns, end of the last epoch */
	__u64 acked;	  /* bytes that were acknowledged on all paths until then */
	__u64 window;	  /* bytes that may be on the way */
	__u64 accepted;	  /* bytes that the peer has room for */
	__u64 room;	  /* bytes that the send buffer should have room for */
	__u64 delivered;  /* bytes/s in the last epoch */
	__u64 delivered_before; /* and in the one before */
	__u64 peak;	  /* of them, since open last changed */
	__u64 before;	  /* bytes/s without the last path that was tried */
	__u64 bulk_at;	  /* ns, begin of bulk */
	__u64 changed_at; /* ns, when open last changed */
	__u64 trial_half; /* ns, when a trial began to count */
	__u64 trial_acked; /* bytes that were acknowledged until then */
	__u32 open;	  /* bits, paths of bulk; 0 uses the chosen path alone */
	__u32 trial;	  /* path that is tried, plus 1, or 0 */
	__u32 alone;	  /* path that was open alone last, plus 1 */
	__u32 bad;	  /* epochs that were worse than without the last path */
	__u32 left_us;	  /* delay of the path that was chosen before */
	__u32 backlog;	  /* there is data that the peer does not have */
	__u32 generation;
	__u32 waking; /* user space was asked to kick */
	__u32 chosen; /* path, by SMALLEST_DELAY, SERVER and AUTO */
	__u32 slow;   /* the first path is above the delay threshold */
	__u32 late[PATHS]; /* numbers of subflows that were there before the policy */
	__u32 walked; /* those are known */
};

#endif
