// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestDataOfHeldJoin has data come on a subflow that the peer has opened while a
// system call holds the connection, and what is before it in the stream come
// later: without the program the kernel takes the one for the other.
func TestDataOfHeldJoin(t *testing.T) {
	p := open(t, Options{Joins: true, Events: true})
	if err := p.Missing(); errors.Is(err, errNoLowWater) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]heldJoin{
		"more follows":    {whileHeld: 20_000, size: 400_000},
		"nothing follows": {whileHeld: 20_000, size: 20_000},
		"too much":        {whileHeld: 400_000, size: 400_000, givenUp: true},
	} {
		t.Run(name, func(t *testing.T) { tt.run(t, p) })
	}
}

// heldJoin is how many bytes are sent, the first of them while the connection is
// held, and whether those are too many.
type heldJoin struct {
	whileHeld, size int
	givenUp         bool
}

func (h heldJoin) run(t *testing.T, p *Programs) {
	const onFirst = 10_000
	link := lab.LinkSpec{Rate: 20e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	labtest.Start(t, tp.Client, "ip", "mptcp", "endpoint", "flush").Wait()
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	data := make([]byte, h.size)
	rand.NewChaCha8([32]byte{}).Read(data)
	before := *p.HeldJoins()

	letGo := hold(t, e.server, e.client)
	filter(t, tp.Aggregator, "input", "iifname wifi drop")
	if _, err := e.client.Write(data[:onFirst]); err != nil {
		t.Fatal(err)
	}
	if err := tp.Client.Endpoint(tp.Cell.Addr.V4, tp.Cell.Dev, "subflow"); err != nil {
		t.Fatal(err)
	}
	e.awaitEstablished(t, 2)
	sent, released := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := e.client.Write(data[onFirst:h.whileHeld])
		<-released
		_, later := e.client.Write(data[h.whileHeld:])
		sent <- errors.Join(err, later, e.client.CloseWrite())
	}()
	labtest.Await(t, patience, "data on the new subflow, or its end", func() bool {
		s := e.subflows(t)
		if h.givenUp {
			return len(s) == 1
		}
		return s[1].TCP.BytesAcked >= uint64(h.whileHeld-onFirst)
	})
	letGo()
	close(released)
	labtest.Start(t, tp.Aggregator, "nft", "flush", "ruleset").Wait()
	if err := e.server.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(e.server)
	if err != nil || !bytes.Equal(got, data) {
		right := 0
		for right < min(len(got), len(data)) && got[right] == data[right] {
			right++
		}
		t.Errorf("%d of %d bytes have come, the first %d of them right: %v", len(got), len(data), right, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	e.server.SetReadDeadline(time.Time{})
	e.move(t, e.server, e.client, int64(h.size))
	if h.givenUp {
		labtest.Await(t, patience, "the end of the subflow that was given up", func() bool {
			return len(e.reversed().subflows(t)) == 1
		})
	}
	want := before
	want.Held++
	if h.givenUp {
		want.GivenUp++
	}
	if got := *p.HeldJoins(); got != want {
		t.Errorf("counted %+v, and %+v before one join while the connection was held", got, before)
	}
}

// reversed has the server as client.
func (e *ends) reversed() *ends {
	return &ends{client: e.server, server: e.client, clientToken: e.serverToken, serverToken: e.clientToken}
}
