/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */

/* The kernel's congestion controls, each with steer() behind its callbacks.
 * User space gives them their names, since several instances may run at once,
 * and leaves out those that the kernel does not have. */

#ifndef TANDEM_WRAPPED_H
#define TANDEM_WRAPPED_H

/* Passed on as they are. */
struct rate_sample {
	__u64 prior_mstamp;
};

struct ack_sample {
	__u32 pkts_acked;
};

enum tcp_ca_event { CA_EVENT_OF_THE_KERNEL };

/* net/tcp.h; the places of the members are looked up by name. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*set_state)(struct sock *sk, __u8 new_state);
	void (*cwnd_event)(struct sock *sk, enum tcp_ca_event event);
	void (*in_ack_event)(struct sock *sk, __u32 flags);
	void (*pkts_acked)(struct sock *sk, const struct ack_sample *sample);
	__u32 (*min_tso_segs)(struct sock *sk);
	void (*cong_control)(struct sock *sk, __u32 ack, int flag, const struct rate_sample *sample);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 (*sndbuf_expand)(struct sock *sk);
	char name[16];
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
};

extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

extern void cubictcp_init(struct sock *sk) __ksym;
extern __u32 cubictcp_recalc_ssthresh(struct sock *sk) __ksym;
extern void cubictcp_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern void cubictcp_state(struct sock *sk, __u8 new_state) __ksym;
extern void cubictcp_cwnd_event(struct sock *sk, enum tcp_ca_event event) __ksym;
extern void cubictcp_acked(struct sock *sk, const struct ack_sample *sample) __ksym;

extern void bbr_init(struct sock *sk) __ksym;
extern void bbr_main(struct sock *sk, __u32 ack, int flag, const struct rate_sample *sample) __ksym;
extern __u32 bbr_sndbuf_expand(struct sock *sk) __ksym;
extern __u32 bbr_undo_cwnd(struct sock *sk) __ksym;
extern void bbr_cwnd_event(struct sock *sk, enum tcp_ca_event event) __ksym;
extern __u32 bbr_ssthresh(struct sock *sk) __ksym;
extern __u32 bbr_min_tso_segs(struct sock *sk) __ksym;
extern void bbr_set_state(struct sock *sk, __u8 new_state) __ksym;

SEC("struct_ops") void BPF_PROG(any_in_ack_event, struct sock *sk, __u32 flags) { steer(sk, true); }
SEC("struct_ops") void BPF_PROG(any_release, struct sock *sk) { leave(sk); }
SEC("struct_ops") __u32 BPF_PROG(any_sndbuf_expand, struct sock *sk) { return windows_kept(sk, 2); }

SEC("struct_ops") void BPF_PROG(reno_init, struct sock *sk) { steer(sk, false); }
SEC("struct_ops") void BPF_PROG(reno_set_state, struct sock *sk, __u8 state) { note_state(sk, state); }
SEC("struct_ops") __u32 BPF_PROG(reno_ssthresh, struct sock *sk) { return tcp_reno_ssthresh(sk); }
SEC("struct_ops") __u32 BPF_PROG(reno_undo_cwnd, struct sock *sk) { return tcp_reno_undo_cwnd(sk); }
SEC("struct_ops") void BPF_PROG(reno_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	tcp_reno_cong_avoid(sk, ack, acked);
}

SEC("struct_ops") void BPF_PROG(cubic_init, struct sock *sk)
{
	steer(sk, false);
	cubictcp_init(sk);
}
SEC("struct_ops") void BPF_PROG(cubic_set_state, struct sock *sk, __u8 state)
{
	cubictcp_state(sk, state);
	note_state(sk, state);
}
SEC("struct_ops") __u32 BPF_PROG(cubic_undo_cwnd, struct sock *sk) { return tcp_reno_undo_cwnd(sk); }
SEC("struct_ops") __u32 BPF_PROG(cubic_ssthresh, struct sock *sk) { return cubictcp_recalc_ssthresh(sk); }
SEC("struct_ops") void BPF_PROG(cubic_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	cubictcp_cong_avoid(sk, ack, acked);
}
SEC("struct_ops") void BPF_PROG(cubic_cwnd_event, struct sock *sk, enum tcp_ca_event event)
{
	cubictcp_cwnd_event(sk, event);
}
SEC("struct_ops") void BPF_PROG(cubic_pkts_acked, struct sock *sk, const struct ack_sample *sample)
{
	cubictcp_acked(sk, sample);
}

/* The highest rate comes first, because bbr_init keeps to it. */
SEC("struct_ops") void BPF_PROG(bbr_wrapped_init, struct sock *sk)
{
	steer(sk, false);
	bbr_init(sk);
}
SEC("struct_ops") void BPF_PROG(bbr_wrapped_set_state, struct sock *sk, __u8 state)
{
	bbr_set_state(sk, state);
	note_state(sk, state);
}
SEC("struct_ops") void BPF_PROG(bbr_cong_control, struct sock *sk, __u32 ack, int flag,
				const struct rate_sample *sample)
{
	bbr_main(sk, ack, flag, sample);
}
SEC("struct_ops") __u32 BPF_PROG(bbr_wrapped_ssthresh, struct sock *sk) { return bbr_ssthresh(sk); }
SEC("struct_ops") __u32 BPF_PROG(bbr_wrapped_undo_cwnd, struct sock *sk) { return bbr_undo_cwnd(sk); }
SEC("struct_ops") __u32 BPF_PROG(bbr_wrapped_min_tso_segs, struct sock *sk) { return bbr_min_tso_segs(sk); }
SEC("struct_ops") __u32 BPF_PROG(bbr_wrapped_sndbuf_expand, struct sock *sk)
{
	return windows_kept(sk, bbr_sndbuf_expand(sk));
}
SEC("struct_ops") void BPF_PROG(bbr_wrapped_cwnd_event, struct sock *sk, enum tcp_ca_event event)
{
	bbr_cwnd_event(sk, event);
}

#define RENO_OPS { \
	.init = (void *)reno_init, .release = (void *)any_release, \
	.in_ack_event = (void *)any_in_ack_event, .set_state = (void *)reno_set_state, \
	.sndbuf_expand = (void *)any_sndbuf_expand, \
	.ssthresh = (void *)reno_ssthresh, .undo_cwnd = (void *)reno_undo_cwnd, \
	.cong_avoid = (void *)reno_cong_avoid, .name = "reno" }

#define CUBIC_OPS { \
	.init = (void *)cubic_init, .release = (void *)any_release, \
	.in_ack_event = (void *)any_in_ack_event, .set_state = (void *)cubic_set_state, \
	.sndbuf_expand = (void *)any_sndbuf_expand, \
	.ssthresh = (void *)cubic_ssthresh, .undo_cwnd = (void *)cubic_undo_cwnd, \
	.cong_avoid = (void *)cubic_cong_avoid, .cwnd_event = (void *)cubic_cwnd_event, \
	.pkts_acked = (void *)cubic_pkts_acked, .name = "cubic" }

#define BBR_OPS { \
	.init = (void *)bbr_wrapped_init, .release = (void *)any_release, \
	.in_ack_event = (void *)any_in_ack_event, .set_state = (void *)bbr_wrapped_set_state, \
	.ssthresh = (void *)bbr_wrapped_ssthresh, .undo_cwnd = (void *)bbr_wrapped_undo_cwnd, \
	.cong_control = (void *)bbr_cong_control, .cwnd_event = (void *)bbr_wrapped_cwnd_event, \
	.min_tso_segs = (void *)bbr_wrapped_min_tso_segs, \
	.sndbuf_expand = (void *)bbr_wrapped_sndbuf_expand, .name = "bbr" }

SEC(".struct_ops.link") struct tcp_congestion_ops reno_0 = RENO_OPS;
SEC(".struct_ops.link") struct tcp_congestion_ops reno_1 = RENO_OPS;
SEC(".struct_ops.link") struct tcp_congestion_ops cubic_0 = CUBIC_OPS;
SEC(".struct_ops.link") struct tcp_congestion_ops cubic_1 = CUBIC_OPS;
SEC(".struct_ops.link") struct tcp_congestion_ops bbr_0 = BBR_OPS;
SEC(".struct_ops.link") struct tcp_congestion_ops bbr_1 = BBR_OPS;

#endif
