// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// layout of a struct in the running kernel. It is what the offsets in
// parseInfo and parseTCPInfo are checked against.
type layout struct {
	offset map[string]int
	size   map[string]int
}

func kernelLayout(t *testing.T, name string) layout {
	t.Helper()
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skipf("kernel describes no types: %v", err)
	}
	var s *btf.Struct
	if err := spec.TypeByName(name, &s); err != nil {
		t.Skip(err)
	}
	l := layout{map[string]int{}, map[string]int{}}
	for _, m := range s.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		l.offset[m.Name], l.size[m.Name] = int(m.Offset.Bytes()), size
	}
	return l
}

// put writes value where the kernel has the field. A field that this kernel
// does not have cannot be checked.
func (l layout) put(t *testing.T, b []byte, field string, value uint64) {
	t.Helper()
	at, known := l.offset[field]
	if !known {
		t.Logf("this kernel has no %s", field)
		return
	}
	switch l.size[field] {
	case 1:
		b[at] = byte(value)
	case 2:
		binary.NativeEndian.PutUint16(b[at:], uint16(value))
	case 4:
		binary.NativeEndian.PutUint32(b[at:], uint32(value))
	case 8:
		binary.NativeEndian.PutUint64(b[at:], value)
	}
}

func TestInfoLayout(t *testing.T) {
	l := kernelLayout(t, "mptcp_info")
	var b [sizeofInfo]byte
	for field, value := range map[string]uint64{
		"mptcpi_subflows": 1, "mptcpi_add_addr_signal": 2, "mptcpi_add_addr_accepted": 3, "mptcpi_subflows_max": 4,
		"mptcpi_add_addr_signal_max": 5, "mptcpi_add_addr_accepted_max": 6, "mptcpi_flags": 7, "mptcpi_token": 8,
		"mptcpi_write_seq": 9, "mptcpi_snd_una": 10, "mptcpi_rcv_nxt": 11, "mptcpi_local_addr_used": 12,
		"mptcpi_local_addr_max": 13, "mptcpi_csum_enabled": 1, "mptcpi_retransmits": 15, "mptcpi_bytes_retrans": 16,
		"mptcpi_bytes_sent": 17, "mptcpi_bytes_received": 18, "mptcpi_bytes_acked": 19, "mptcpi_subflows_total": 20,
		"mptcpi_endp_laminar_max": 21, "mptcpi_last_data_sent": 22, "mptcpi_last_data_recv": 23, "mptcpi_last_ack_recv": 24,
	} {
		l.put(t, b[:], field, value)
	}
	want := Info{Subflows: 1, AddAddrSignal: 2, AddAddrAccepted: 3, SubflowsMax: 4, AddAddrSignalMax: 5,
		AddAddrAcceptedMax: 6, Flags: 7, Token: 8, WriteSeq: 9, SndUna: 10, RcvNxt: 11, LocalAddrUsed: 12,
		LocalAddrMax: 13, ChecksumEnabled: true, Retransmits: 15, BytesRetrans: 16, BytesSent: 17, BytesReceived: 18,
		BytesAcked: 19}
	for field, set := range map[string]func(){
		"mptcpi_subflows_total":   func() { want.SubflowsTotal = 20 },
		"mptcpi_endp_laminar_max": func() { want.EndpLaminarMax = 21 },
		"mptcpi_last_data_sent":   func() { want.LastDataSent = 22 * time.Millisecond },
		"mptcpi_last_data_recv":   func() { want.LastDataRecv = 23 * time.Millisecond },
		"mptcpi_last_ack_recv":    func() { want.LastAckRecv = 24 * time.Millisecond },
	} {
		if _, known := l.offset[field]; known {
			set()
		}
	}
	if diff := cmp.Diff(want, parseInfo(&b)); diff != "" {
		t.Error(diff)
	}
}

func TestTCPInfoLayout(t *testing.T) {
	l := kernelLayout(t, "tcp_info")
	var b [sizeofTCPInfo]byte
	for field, value := range map[string]uint64{
		"tcpi_state": 1, "tcpi_ca_state": 2, "tcpi_retransmits": 3, "tcpi_probes": 4, "tcpi_backoff": 5, "tcpi_rto": 6,
		"tcpi_ato": 7, "tcpi_snd_mss": 8, "tcpi_rcv_mss": 9, "tcpi_unacked": 10, "tcpi_sacked": 11, "tcpi_lost": 12,
		"tcpi_retrans": 13, "tcpi_last_data_sent": 14, "tcpi_last_data_recv": 15, "tcpi_last_ack_recv": 16,
		"tcpi_pmtu": 17, "tcpi_rtt": 18, "tcpi_rttvar": 19, "tcpi_snd_ssthresh": 20, "tcpi_snd_cwnd": 21,
		"tcpi_reordering": 22, "tcpi_rcv_rtt": 23, "tcpi_rcv_space": 24, "tcpi_total_retrans": 25, "tcpi_pacing_rate": 26,
		"tcpi_max_pacing_rate": math.MaxUint64, "tcpi_bytes_acked": 28, "tcpi_bytes_received": 29, "tcpi_segs_out": 30,
		"tcpi_segs_in": 31, "tcpi_notsent_bytes": 32, "tcpi_min_rtt": 33, "tcpi_delivery_rate": 34, "tcpi_busy_time": 35,
		"tcpi_rwnd_limited": 36, "tcpi_sndbuf_limited": 37, "tcpi_delivered": 38, "tcpi_delivered_ce": 39,
		"tcpi_bytes_sent": 40, "tcpi_bytes_retrans": 41, "tcpi_snd_wnd": 42, "tcpi_rcv_wnd": 43, "tcpi_rehash": 44,
		"tcpi_total_rto": 45, "tcpi_total_rto_time": 46,
	} {
		l.put(t, b[:], field, value)
	}
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	want := TCPInfo{State: StateEstablished, CongestionState: CongestionCWR, Retransmits: 3, Probes: 4, Backoff: 5,
		RTO: us(6), ATO: us(7), SendMSS: 8, ReceiveMSS: 9, Unacked: 10, Sacked: 11, Lost: 12, Retrans: 13,
		LastDataSent: ms(14), LastDataRecv: ms(15), LastAckRecv: ms(16), PathMTU: 17, RTT: us(18), RTTVar: us(19),
		SSThresh: 20, CWnd: 21, Reordering: 22, ReceiveRTT: us(23), ReceiveSpace: 24, TotalRetrans: 25, PacingRate: 26,
		MaxPacingRate: math.MaxUint64, BytesAcked: 28, BytesReceived: 29, SegmentsOut: 30, SegmentsIn: 31, NotSent: 32,
		MinRTT: us(33), DeliveryRate: 34, BusyTime: us(35), RwndLimited: us(36), SndbufLimited: us(37), Delivered: 38,
		DeliveredCE: 39, BytesSent: 40, BytesRetrans: 41, SendWindow: 42, ReceiveWindow: 43, Rehash: 44, Timeouts: 45,
		RTOTime: ms(46)}
	if _, known := l.offset["tcpi_total_rto"]; !known { // Linux 6.7
		want.Timeouts, want.RTOTime = 0, 0
	}
	if _, known := l.offset["tcpi_rcv_wnd"]; !known { // Linux 6.2
		want.ReceiveWindow, want.Rehash = 0, 0
	}
	if diff := cmp.Diff(want, parseTCPInfo(&b)); diff != "" {
		t.Error(diff)
	}
}

func TestInfoCounts(t *testing.T) {
	needMPTCP(t)
	c, s := pair(t, loopback4, ModePrefer, ModePrefer)
	talk(t, c, s, "12345")
	talk(t, s, c, "1234567")
	// The acknowledgement of what c sent last comes with the answer.
	info, err := InfoOf(c)
	if err != nil {
		t.Fatal(err)
	}
	status, err := Negotiated(c)
	if err != nil || info.Token != status.Token || info.Flags&FlagRemoteKeyReceived == 0 {
		t.Errorf("info %+v, status %+v, %v", info, status, err)
	}
	tcp, err := TCPInfoOf(c)
	if err != nil || tcp.State != StateEstablished || tcp.BytesReceived != 7 || tcp.BytesSent != 5 {
		t.Errorf("first subflow: %+v, %v", tcp, err)
	}
	if info.SubflowsTotal == 0 {
		t.Skip("kernel has no byte counters")
	}
	if info.BytesSent != 5 || info.BytesReceived != 7 || info.BytesAcked != 5 || info.Subflows != 0 || info.SubflowsTotal != 1 {
		t.Errorf("info %+v", info)
	}
}

func TestInfoOfPlainTCP(t *testing.T) {
	needMPTCP(t)
	for _, addr := range []Mode{ModeOff, ModePrefer} {
		c, _ := pair(t, loopback6, addr, ModeOff)
		if _, err := InfoOf(c); !errors.Is(err, ErrNotNegotiated) {
			t.Errorf("client %s: %v", addr, err)
		}
	}
	if _, err := InfoOf(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
	if _, err := Negotiated(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
}
