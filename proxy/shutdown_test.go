// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestShutdownWaitsForConnections(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	c := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	left := make(chan int)
	go func() { left <- p.Shutdown(context.Background()) }()
	await(t, "the listener to close", func() bool {
		conn, err := net.Dial("tcp", p.addr.String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
	exchange(t, c, "the tunnel lives on")
	if n := <-left; n != 0 {
		t.Errorf("%d connections had to be ended", n)
	}
	if _, err := p.Apply(nil); !errors.Is(err, ErrShutdown) {
		t.Errorf("Apply after Shutdown: %v", err)
	}
}

// Clients that wait to be accepted when the proxy is stopped are served.
func TestShutdownServesThoseWhoWait(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, forwardTo("", server))
	release := p.hold()
	var waiting []*mptcp.Conn
	for range 10 {
		c := dialProxy(t, p.addr, mptcp.ModePrefer)
		send(t, c, []byte("x"))
		waiting = append(waiting, c)
	}
	left := make(chan int)
	go func() { left <- p.Shutdown(t.Context()) }()
	await(t, "the shutdown to wait for the workers", func() bool {
		free := p.mu.TryLock()
		if free {
			p.mu.Unlock()
		}
		return !free
	})
	release()
	for _, c := range waiting {
		expect(t, c, "x")
		exchange(t, c, "served")
	}
	if n := <-left; n != 0 {
		t.Errorf("%d connections had to be ended", n)
	}
}

func TestShutdownIsCutShort(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	tunnel := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	beginner := dialProxy(t, p.addr, mptcp.ModeOff)
	await(t, "both connections", func() bool { return p.Stats().Active == 2 })
	first := make(chan int)
	go func() { first <- p.Shutdown(context.Background()) }()
	await(t, "the listener to close", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.closing
	})
	if n := p.Shutdown(canceled()); n != 2 {
		t.Errorf("%d connections had to be ended, want 2", n)
	}
	<-first
	expectEnd(t, tunnel)
	expectEnd(t, beginner)
	for _, r := range p.records.wait(t, 2) {
		if !errors.Is(r.Err, ErrShutdown) {
			t.Errorf("record %+v", r)
		}
	}
	if s := p.quiescent(); s.Refused["shutdown"] != 1 {
		t.Errorf("refused %v", s.Refused)
	}
}
