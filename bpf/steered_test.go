// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// steered is a connection between two hosts with two links, whose client sends.
type steered struct {
	*ends
	*lab.TwoPath
	s *Steering
}

// steeringIn runs the programs for connections of a host.
func steeringIn(t testing.TB, h *lab.Host, o Options) *Steering {
	t.Helper()
	needPrograms(t)
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	var p *Programs
	if err := h.Do(func() (err error) {
		p, err = Open(o)
		return err
	}); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Missing(); err != nil {
		t.Fatalf("%+v", err)
	}
	for name, err := range p.Steering().CongestionControls() {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return p.Steering()
}

// steer makes a connection over links with these rates, with both subflows
// known to the programs, under a policy.
func steer(t *testing.T, wifi, cell uint64, p Policy) *steered {
	t.Helper()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: wifi}, Cell: lab.LinkSpec{Rate: cell}})
	return steerOver(t, tp, Options{Steering: true, Requests: true}, p)
}

func steerOver(t *testing.T, tp *lab.TwoPath, o Options, p Policy) *steered {
	t.Helper()
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Client, o)}
	c.ends = c.connect(t, p)
	return c
}

func (c *steered) connect(t *testing.T, p Policy) *ends {
	t.Helper()
	e := connectIn(t, c.Client, c.Aggregator, c.AggregatorAddr.V4)
	c.set(t, e, p)
	labtest.Await(t, patience, "two subflows", func() bool {
		return c.state(t, e)[1].Subflow != 0
	})
	return e
}

func (c *steered) set(t *testing.T, e *ends, p Policy) {
	t.Helper()
	if err := c.Client.Do(func() error { return c.s.Set(e.clientToken, p) }); err != nil {
		t.Fatal(err)
	}
}

func (c *steered) state(t *testing.T, e *ends) [MaxPaths]PathState {
	t.Helper()
	state, err := c.s.State(e.clientToken)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// sent moves n bytes from the client and tells how many went onto each path.
func (c *steered) sent(t *testing.T, e *ends, n int64) [2]int64 {
	t.Helper()
	before := c.state(t, e)
	e.move(t, e.client, e.server, n)
	after := c.state(t, e)
	var bytes [2]int64
	for i := range bytes {
		bytes[i] = int64(after[i].Sent - before[i].Sent)
	}
	return bytes
}

// burst is what the kernel puts on a subflow before it chooses again
// (MPTCP_SEND_BURST_SIZE in net/mptcp/protocol.c).
const burst = 64 << 10

// settle moves data until none of it goes onto a path: the kernel may still put
// a burst on a subflow that is to be skipped, before it looks at its rate.
func (c *steered) settle(t *testing.T, e *ends, path int) {
	t.Helper()
	labtest.Await(t, patience, fmt.Sprintf("no data on path %d", path), func() bool {
		return c.sent(t, e, 100e3)[path] == 0
	})
}

// bulk has the client send without end. Calling stop ends it, with all that was
// sent received.
func (e *ends) bulk(t *testing.T) (stop func()) {
	t.Helper()
	var received, sent int64
	var moving sync.WaitGroup
	moving.Go(func() {
		block := make([]byte, 64<<10)
		for {
			n, err := e.client.Write(block)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		e.client.CloseWrite()
	})
	moving.Go(func() { received, _ = io.Copy(io.Discard, e.server) })
	stop = sync.OnceFunc(func() {
		e.client.SetWriteDeadline(time.Unix(0, 1))
		e.server.SetReadDeadline(time.Now().Add(patience))
		moving.Wait()
		if sent != received {
			t.Errorf("%d of %d bytes received", received, sent)
		}
	})
	t.Cleanup(stop)
	return stop
}

// subflows are those of the client.
func (e *ends) subflows(t *testing.T) (list []mptcp.Subflow) {
	t.Helper()
	raw, err := e.client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { list, err = mptcp.Subflows(int(fd)) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	return list
}

// awaitEstablished waits until the client has n established subflows.
func (e *ends) awaitEstablished(t *testing.T, n int) {
	t.Helper()
	labtest.Await(t, patience, fmt.Sprintf("%d subflows", n), func() bool {
		list := e.subflows(t)
		return len(list) == n &&
			!slices.ContainsFunc(list, func(s mptcp.Subflow) bool { return s.TCP.State != mptcp.StateEstablished })
	})
}

// awaitSent waits until n more bytes went onto a path, and tells how many went
// onto each.
func (c *steered) awaitSent(t *testing.T, e *ends, path int, n uint64) (sent [2]uint64) {
	t.Helper()
	before := c.state(t, e)
	labtest.Await(t, patience, fmt.Sprintf("%d bytes on path %d", n, path), func() bool {
		after := c.state(t, e)
		for i := range sent {
			sent[i] = after[i].Sent - before[i].Sent
		}
		return sent[path] >= n
	})
	return sent
}
