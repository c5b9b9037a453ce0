/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Socket options of subflows that a policy asks for. One that the kernel does
 * not take is noted, and the others are set nevertheless. */

#ifndef TANDEM_OPTIONS_H
#define TANDEM_OPTIONS_H

#include "policy.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define SOL_TCP 6
#define TCP_USER_TIMEOUT 18

#define DELACK_MAX_US 200000 /* TCP_DELACK_MAX of net/tcp.h */

/* Where is a subflow, as a context of sock_ops or as struct tcp_sock. */
static __always_inline void set_option(void *where, int name, __u32 value, enum subflow_option option,
				       enum subflow_option *refused)
{
	if (bpf_setsockopt(where, SOL_TCP, name, &value, sizeof(value)))
		*refused |= option;
	else
		*refused &= ~option;
}

/* Before is what the subflow has now, so that what is no longer asked for is
 * taken back. An initial window cannot be: it is used up. */
static __always_inline void set_options(void *where, const struct policy *p, enum subflow_option *before, enum subflow_option *refused)
{
	if (p->initial_window && !(*before & INITIAL_WINDOW)) {
		set_option(where, TCP_BPF_IW, p->initial_window, INITIAL_WINDOW, refused);
		*before |= INITIAL_WINDOW;
	}
	if (p->user_timeout_ms || *before & USER_TIMEOUT) {
		set_option(where, TCP_USER_TIMEOUT, p->user_timeout_ms, USER_TIMEOUT, refused);
		*before |= USER_TIMEOUT;
	}
	if (p->delayed_ack_us || *before & DELAYED_ACK) {
		set_option(where, TCP_BPF_DELACK_MAX, p->delayed_ack_us ? p->delayed_ack_us : DELACK_MAX_US,
			   DELAYED_ACK, refused);
		*before |= DELAYED_ACK;
	}
}

#endif
