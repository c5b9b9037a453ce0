/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* Socket options of subflows that a policy asks for. One that the kernel does
 * not take is noted, and the others are set nevertheless. */

#ifndef TANDEM_OPTIONS_H
#define TANDEM_OPTIONS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define SOL_TCP 6
#define TCP_USER_TIMEOUT 18

#define DELACK_MAX_US 200000 /* TCP_DELACK_MAX of net/tcp.h */

/* 0 leaves an option to the kernel. */
struct subflow_options {
	__u32 initial_window; /* segments */
	__u32 user_timeout_ms;
	__u32 delayed_ack_us;
};

/* Bits to tell them by. */
enum subflow_option {
	INITIAL_WINDOW = 1,
	USER_TIMEOUT = 2,
	DELAYED_ACK = 4,
};

/* Where is a subflow, as a context of sock_ops or as struct tcp_sock. */
static __always_inline void set_option(void *where, int name, __u32 value, enum subflow_option option,
				       enum subflow_option *refused)
{
	if (bpf_setsockopt(where, SOL_TCP, name, &value, sizeof(value)))
		*refused |= option;
	else
		*refused &= ~option;
}

/* Given is what the subflow has, so that what is no longer asked for is taken
 * back. An initial window cannot be: it is used up. */
static __always_inline void set_options(void *where, const struct subflow_options *wanted,
					struct subflow_options *given, enum subflow_option *refused)
{
	if (!wanted->initial_window)
		*refused &= ~INITIAL_WINDOW;
	else if (wanted->initial_window != given->initial_window)
		set_option(where, TCP_BPF_IW, wanted->initial_window, INITIAL_WINDOW, refused);
	if (wanted->user_timeout_ms != given->user_timeout_ms)
		set_option(where, TCP_USER_TIMEOUT, wanted->user_timeout_ms, USER_TIMEOUT, refused);
	if (wanted->delayed_ack_us != given->delayed_ack_us)
		set_option(where, TCP_BPF_DELACK_MAX, wanted->delayed_ack_us ? wanted->delayed_ack_us : DELACK_MAX_US,
			   DELAYED_ACK, refused);
	*given = *wanted;
}

#endif
