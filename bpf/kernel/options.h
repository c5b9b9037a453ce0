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

/* Options of subflows, by their types on the wire: options/option.go. */
enum subflow_option {
	INITIAL_WINDOW = 6, /* segments */
	USER_TIMEOUT = 7,   /* ms */
	DELAYED_ACK = 8,    /* us */
	SUBFLOW_OPTIONS,
};

/* Their values; 0 leaves an option to the kernel. */
struct subflow_options {
	__u32 of[SUBFLOW_OPTIONS];
};

/* Where is a subflow, as a context of sock_ops or as struct tcp_sock. Name is that
 * of the socket option, and instead the value of it that the kernel begins with.
 * Refused has a bit for each option. */
static __always_inline void set_option(void *where, enum subflow_option option, int name, __u32 instead,
				       const struct subflow_options *wanted, const struct subflow_options *given,
				       __u32 *refused)
{
	__u32 value = wanted->of[option] ? wanted->of[option] : instead;

	if (wanted->of[option] == given->of[option])
		return;
	if (bpf_setsockopt(where, SOL_TCP, name, &value, sizeof(value)))
		*refused |= 1 << option;
	else
		*refused &= ~(1 << option);
}

/* Given is what the subflow has, so that what is no longer asked for is taken
 * back. An initial window cannot be: it is used up. */
static __always_inline void set_options(void *where, const struct subflow_options *wanted,
					struct subflow_options *given, __u32 *refused)
{
	if (wanted->of[INITIAL_WINDOW])
		set_option(where, INITIAL_WINDOW, TCP_BPF_IW, 0, wanted, given, refused);
	else
		*refused &= ~(1 << INITIAL_WINDOW);
	set_option(where, USER_TIMEOUT, TCP_USER_TIMEOUT, 0, wanted, given, refused);
	set_option(where, DELAYED_ACK, TCP_BPF_DELACK_MAX, DELACK_MAX_US, wanted, given, refused);
	*given = *wanted;
}

#endif
