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
	p := open(t, Options{Joins: true})
	if err := p.Missing(); errors.Is(err, errNoLowWater) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"more follows": 400_000, "nothing follows": 40_000} {
		t.Run(name, func(t *testing.T) { heldJoin(t, p.Joins(), size) })
	}
}

func heldJoin(t *testing.T, joins *Joins, size int) {
	const onFirst, whileHeld = 10_000, 40_000 // bytes
	link := lab.LinkSpec{Rate: 20e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	labtest.Start(t, tp.Client, "ip", "mptcp", "endpoint", "flush").Wait()
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	before := heldJoins(t, joins)

	letGo := hold(t, e.server, e.client)
	filter(t, tp.Aggregator, "input", "iifname wifi drop")
	if _, err := e.client.Write(data[:onFirst]); err != nil {
		t.Fatal(err)
	}
	if err := tp.Client.Endpoint(tp.Cell.Addr.V4, tp.Cell.Dev, "subflow"); err != nil {
		t.Fatal(err)
	}
	e.awaitEstablished(t, 2)
	if _, err := e.client.Write(data[onFirst:whileHeld]); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "data on the new subflow", func() bool {
		return e.subflows(t)[1].TCP.BytesAcked > whileHeld/2
	})
	letGo()
	if n := heldJoins(t, joins) - before; n != 1 {
		t.Errorf("%d joins while a connection was held, want 1", n)
	}
	labtest.Start(t, tp.Aggregator, "nft", "flush", "ruleset").Wait()
	sent := make(chan error, 1)
	go func() {
		_, err := e.client.Write(data[whileHeld:])
		sent <- errors.Join(err, e.client.CloseWrite())
	}()
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
}

func heldJoins(t *testing.T, joins *Joins) uint64 {
	t.Helper()
	n, err := joins.Held()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
