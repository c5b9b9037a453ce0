// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/options"
)

// refusing is what PathState.Refused is for some options.
func refusing(list ...options.Option) (r RefusedOptions) {
	for _, o := range list {
		r |= 1 << o
	}
	return r
}

func TestUserTimeout(t *testing.T) {
	c := steer(t, 0, 0, Policy{Options: SubflowOptions{options.UserTimeout: 1000}})
	filter(t, c.Aggregator, "input", "iifname cell meta l4proto tcp drop")
	stop := c.bulk(t)
	labtest.Await(t, patience, "second subflow is given up", func() bool { return c.state(t, c.ends)[1].Subflow == 0 })
	if state := c.state(t, c.ends); state[0].Refused != 0 || state[0].Subflow != 1 {
		t.Errorf("first path: %+v", state[0])
	}
	stop()
}

// TestOptions: the second subflow has not sent data yet, the first has.
func TestOptions(t *testing.T) {
	c := steer(t, 0, 0, Policy{Options: SubflowOptions{options.InitialWindow: 42, options.DelayedACK: 20_000}})
	state := c.state(t, c.ends)
	if state[0].Refused != refusing(options.InitialWindow) || state[1].Refused != 0 {
		t.Errorf("refused %v and %v, want the initial window on the first", state[0].Refused, state[1].Refused)
	}
	out, err := c.Client.Command(t.Context(), "ss", "-tin").Output()
	if err != nil {
		t.Skip(err)
	}
	if n := strings.Count(string(out), " cwnd:42 "); n != 1 {
		t.Errorf("%d subflows with the window, want 1:\n%s", n, out)
	}
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 1, 500_000)
	// What is set anew is what has changed.
	c.set(t, c.ends, Policy{Options: SubflowOptions{options.InitialWindow: 42, options.DelayedACK: 30_000}})
	if state := c.state(t, c.ends); state[1].Refused != 0 {
		t.Errorf("refused %v though only another option was changed", state[1].Refused)
	}
	c.set(t, c.ends, Policy{Options: SubflowOptions{options.InitialWindow: 43}})
	if state := c.state(t, c.ends); state[1].Refused != refusing(options.InitialWindow) {
		t.Errorf("refused %v, want the initial window of a subflow that has sent data", state[1].Refused)
	}
	c.set(t, c.ends, Policy{Options: SubflowOptions{options.UserTimeout: math.MaxUint32, options.DelayedACK: 201_000}})
	if state := c.state(t, c.ends); state[1].Refused != refusing(options.UserTimeout, options.DelayedACK) {
		t.Errorf("refused %v, want values that no kernel takes", state[1].Refused)
	}
	c.set(t, c.ends, Policy{})
	if state := c.state(t, c.ends); state[0].Refused|state[1].Refused != 0 {
		t.Errorf("refused %v and %v when taken back", state[0].Refused, state[1].Refused)
	}
	stop()
}

// backoffs is how often the retransmission timer of the subflow from an address
// has doubled.
func (c *steered) backoffs(t *testing.T, from netip.Addr) int {
	t.Helper()
	out, err := c.Client.Command(t.Context(), "ss", "-Htin", "src", from.String()).Output()
	if err != nil {
		t.Skip(err)
	}
	m := regexp.MustCompile(` backoff:(\d+)`).FindSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// TestUserTimeoutLive takes a user timeout back, and sets it again, on a subflow
// whose peer does not answer.
func TestUserTimeoutLive(t *testing.T) {
	c := steer(t, 0, 0, Policy{Options: SubflowOptions{options.UserTimeout: 1000}})
	c.set(t, c.ends, Policy{})
	filter(t, c.Aggregator, "input", "iifname cell meta l4proto tcp drop")
	stop := c.bulk(t)
	labtest.Await(t, patience, "more than a second without an answer", func() bool { return c.backoffs(t, c.Cell.Addr.V4) >= 4 })
	if state := c.state(t, c.ends); state[1].Subflow == 0 {
		t.Fatal("the second subflow was given up though the timeout was taken back")
	}
	c.set(t, c.ends, Policy{Options: SubflowOptions{options.UserTimeout: 1000}})
	labtest.Await(t, patience, "second subflow is given up", func() bool { return c.state(t, c.ends)[1].Subflow == 0 })
	stop()
}

// members reads one of struct inet_connection_sock, with four bytes, of each TCP
// socket of the client.
func (c *steered) members(t *testing.T, name string) (values []uint32) {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var layout *btf.Struct
	if err := kernel.TypeByName("inet_connection_sock", &layout); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(layout.Members, func(m btf.Member) bool { return m.Name == name })
	if i < 0 {
		t.Skip("kernel without ", name)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "tcp", License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord), // of the context: sk_common
			asm.JEq.Imm(asm.R1, 0, "end"),
			asm.FnSkcToTcpSock.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.LoadMem(asm.R1, asm.R0, int16(layout.Members[i].Offset.Bytes()), asm.Word), // it comes first there
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord), // meta
			asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // seq
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.Mov.Imm(asm.R3, 4),
			asm.FnSeqWrite.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer program.Close()
	at(t, c.Client, func() error {
		walk, err := link.AttachIter(link.IterOptions{Program: program})
		if err != nil {
			return err
		}
		defer walk.Close()
		in, err := walk.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		b, err := io.ReadAll(in)
		for ; len(b) >= 4; b = b[4:] {
			values = append(values, binary.NativeEndian.Uint32(b))
		}
		return err
	})
	return values
}

// TestOptionsOfSockets looks at what options that others do not see are on the
// subflows while they are set, changed and taken back.
func TestOptionsOfSockets(t *testing.T) {
	c := steer(t, 0, 0, Policy{})
	delays := c.members(t, "icsk_delack_max") // in jiffies
	if len(delays) != 2 || delays[0] != delays[1] {
		t.Fatalf("delays of ACKs %v", delays)
	}
	kernels := delays[0]
	for _, tt := range []struct {
		asked   SubflowOptions
		delay   uint32 // jiffies
		timeout uint32 // ms
	}{
		{SubflowOptions{options.DelayedACK: 20_000, options.UserTimeout: 60_000}, kernels / 10, 60_000},
		{SubflowOptions{options.DelayedACK: 100_000, options.UserTimeout: 7000}, kernels / 2, 7000},
		{SubflowOptions{options.UserTimeout: 7000}, kernels, 7000},
		{SubflowOptions{}, kernels, 0},
		{SubflowOptions{options.DelayedACK: 100_000}, kernels / 2, 0},
	} {
		c.set(t, c.ends, Policy{Options: tt.asked})
		if got := c.members(t, "icsk_delack_max"); !slices.Equal(got, []uint32{tt.delay, tt.delay}) {
			t.Errorf("%v: delays of ACKs %v, want %d", tt.asked, got, tt.delay)
		}
		if got := c.members(t, "icsk_user_timeout"); !slices.Equal(got, []uint32{tt.timeout, tt.timeout}) {
			t.Errorf("%v: user timeouts %v, want %d", tt.asked, got, tt.timeout)
		}
	}
	at(t, c.Client, func() error { return c.s.Clear(c.clientToken) })
	if got := c.members(t, "icsk_delack_max"); !slices.Equal(got, delays) {
		t.Errorf("delays of ACKs %v without a policy, want %v", got, delays)
	}
}
