// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0

/* Keeps the TCP options of the SYN-ACKs that connections opened from the
 * cgroup were answered with, until user space asks for them. */

#include "sockops.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_HEADER 20  /* without options */
#define MAX_OPTIONS 40 /* RFC 9293, section 3.1 */

/* A connection, as its owner names it. The owner lives in one network
 * namespace, so that neither this nor the local address is needed. */
struct connection {
	struct in6_addr remote;
	__u16 remote_port; /* host byte order */
	__u16 local_port;  /* host byte order */
};

struct options {
	__u8 length;
	__u8 bytes[MAX_OPTIONS];
};

/* Connections whose SYN-ACK nobody asks for push each other out. User space
 * sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct connection);
	__type(value, struct options);
} synacks SEC(".maps");

SEC("sockops")
int tandem_synack(struct bpf_sock_ops *ctx)
{
	struct connection connection = {};
	struct options options = {};
	__u8 *option, *end;

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return GO_ON;
	/* The TCP header of the SYN-ACK, nothing before and nothing behind it. */
	option = ctx->skb_data + TCP_HEADER;
	end = ctx->skb_data_end;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		if (option + i + 1 > end)
			break;
		options.bytes[i] = option[i];
		options.length = i + 1;
	}
	remote_address(ctx, &connection.remote);
	connection.remote_port = remote_port(ctx);
	connection.local_port = ctx->local_port;
	bpf_map_update_elem(&synacks, &connection, &options, BPF_ANY);
	return GO_ON;
}
