// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// collect copies what is live.
func (p *proxied) collect() []Live {
	var all []Live
	for l := range p.Live() {
		all = append(all, *l)
	}
	return all
}

// single waits until one connection is live and meets a condition.
func (p *proxied) single(what string, met func(*Live) bool) Live {
	p.t.Helper()
	var all []Live
	await(p.t, what, func() bool {
		all = p.collect()
		return len(all) == 1 && met(&all[0])
	})
	return all[0]
}

func phaseIs(phase string) func(*Live) bool {
	return func(l *Live) bool { return l.Phase == phase }
}

func TestLiveTellsOfATunnel(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	p.single("the handshake", phaseIs("handshake"))
	send(t, c, []byte(hello+request(socks.Connect, server)))
	expect(t, c, welcome)
	readReply(t, c)
	send(t, c, []byte("four"))
	expect(t, c, "four")
	l := p.single("the bytes", func(l *Live) bool { return l.Up == 4 && l.Down == 4 })
	if l.Phase != "relaying" || l.Listener != "test" || l.Client != c.LocalAddr().(*net.TCPAddr).AddrPort() || l.Server != server || l.Hop != "direct" {
		t.Errorf("%+v", l)
	}
	if !l.Relaying || l.Connected <= 0 || l.Connected > l.Age || l.Idle < 0 || l.Idle > l.Age || time.Since(l.Start) < l.Age {
		t.Errorf("connected after %v, idle for %v, age %v, began %v ago", l.Connected, l.Idle, l.Age, time.Since(l.Start))
	}
	if supported := mptcp.Supported() == nil; l.ClientMPTCP.MPTCP != supported || (l.ClientMPTCP.Token != 0) != supported {
		t.Errorf("client's leg: %+v", l.ClientMPTCP)
	}
	if l.ServerMPTCP != (mptcp.Status{Reason: mptcp.NotAsked}) {
		t.Errorf("server's leg: %+v", l.ServerMPTCP)
	}
}

func TestLiveTellsOfDatagrams(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	send(t, c, []byte(hello+request(socks.Associate, p.addr)))
	expect(t, c, welcome)
	readReply(t, c)
	l := p.single("the association", phaseIs("udp"))
	if !p.Kick(l.ID) {
		t.Error("there was nothing to kick")
	}
	expectEnd(t, c)
	p.quiescent()
}

func TestKick(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{}))
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	young := p.single("the handshake", phaseIs("handshake"))
	if !p.Kick(young.ID) || p.Kick(young.ID) {
		t.Error("a connection in its handshake is not kicked just once")
	}
	expectEnd(t, c)
	if n := p.quiescent().Refused["kicked"]; n != 1 {
		t.Errorf("%d connections are counted as kicked", n)
	}

	c = dialProxy(t, p.addr, mptcp.ModeOff)
	send(t, c, []byte(hello+request(socks.Connect, echoServer(t))))
	expect(t, c, welcome)
	readReply(t, c)
	l := p.single("the tunnel", phaseIs("relaying"))
	for _, wrong := range []uint64{0, young.ID, l.ID + 1, l.ID + 1<<40, 1 << 63} {
		if p.Kick(wrong) {
			t.Errorf("kicked %d instead of %d", wrong, l.ID)
		}
	}
	if !p.Kick(l.ID) {
		t.Error("a tunnel is not kicked")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
	if r := p.records.wait(t, 2); !errors.Is(r[1].Err, ErrKicked) {
		t.Errorf("recorded: %v", r[1].Err)
	}
	p.quiescent()
}

// Those that stay are seen once each, whatever becomes of the others.
func TestLiveWhileConnectionsEnd(t *testing.T) {
	const tunnels = 5 * liveBatch
	e := newEnds(t)
	p := serve(t, Options{Workers: 1}, socksListener(socks.Config{}))
	for range tunnels {
		e.open(p.addr, mptcp.ModeOff)
	}
	await(t, "all of them", func() bool {
		n := 0
		for l := range p.Live() {
			if l.Phase == "relaying" {
				n++
			}
		}
		return n == tunnels
	})
	var ids []uint64 // in the order of the walk
	for l := range p.Live() {
		ids = append(ids, l.ID)
	}
	// While the first of each batch is looked at, the end of the batch has been
	// passed; the one that comes next ends, and others before and after it.
	gone, seen := map[uint64]bool{}, map[uint64]int{}
	at := 0
	for l := range p.Live() {
		seen[l.ID]++
		if at%liveBatch == 0 {
			for _, i := range []int{at + liveBatch, at + liveBatch + 1, at + liveBatch - 1, at + 2*liveBatch} {
				if i < len(ids) && !gone[ids[i]] {
					gone[ids[i]] = p.Kick(ids[i])
				}
			}
			e.open(p.addr, mptcp.ModeOff) // and another one begins
		}
		at++
	}
	for _, id := range ids {
		if n := seen[id]; n > 1 || n == 0 && !gone[id] {
			t.Errorf("connection %d was seen %d times", id, n)
		}
	}
	if len(gone) < 8 {
		t.Errorf("only %d connections have ended", len(gone))
	}
	for range p.Live() {
		break // half-way
	}
	if !p.on(0, func(w *worker) {
		if len(w.walks) > 0 {
			t.Errorf("%d walks are left", len(w.walks))
		}
	}) {
		t.Error("the loop has ended")
	}
	e.close()
	p.quiescent()
}

func TestLiveAfterTheEnd(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Alive(ctx); err != nil {
		t.Error(err)
	}
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	l := p.single("the handshake", phaseIs("handshake"))
	p.Close()
	expectEnd(t, c)
	if all := p.collect(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	if p.Kick(l.ID) {
		t.Error("something was kicked")
	}
	if err := p.Alive(ctx); err == nil {
		t.Error("loops that have ended answer")
	}
}
