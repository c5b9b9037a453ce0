// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// slowUsers answers each question when it is told to.
type slowUsers struct {
	asked  chan string // the password
	answer chan bool
}

func newSlowUsers() slowUsers {
	return slowUsers{asked: make(chan string, 1), answer: make(chan bool)}
}

func (s slowUsers) Valid(string, string) bool         { panic("blocks an event loop") }
func (s slowUsers) Known(string, string) (bool, bool) { return false, false }
func (s slowUsers) Verify(ctx context.Context, _, password string) (bool, error) {
	s.asked <- password
	select {
	case right := <-s.answer:
		return right, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// TestSlowPassword keeps a client waiting for the check of its password and
// serves another one meanwhile, on the same loop.
func TestSlowPassword(t *testing.T) {
	server := echoServer(t)
	users := newSlowUsers()
	slow, other := socksListener(socks.Config{Users: users}), socksListener(socks.Config{})
	other.Addresses = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0")}
	complete(other)
	p := serve(t, Options{Workers: 1}, slow)
	bound, err := p.Apply([]*Listener{slow, other})
	if err != nil {
		t.Fatal(err)
	}
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(authHi+authMine+request(socks.Connect, server)+"early"))
	expect(t, c, "\x05\x02")
	if password := <-users.asked; password != "secret" {
		t.Fatalf("asked about %q", password)
	}
	exchange(t, throughSOCKS(t, bound[1].Address, server, mptcp.ModePrefer), "meanwhile")
	users.answer <- true
	expect(t, c, "\x01\x00")
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	expect(t, c, "early")
	exchange(t, c, "words")
}

func TestSlowPasswordIsWrong(t *testing.T) {
	users := newSlowUsers()
	p := serve(t, Options{}, socksListener(socks.Config{Users: users}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(authHi+authMine))
	<-users.asked
	users.answer <- false
	expect(t, c, "\x05\x02\x01\x01")
	expectEnd(t, c)
	c.Close()
	if got := p.quiescent().Refused; got["authentication"] != 1 {
		t.Errorf("refused %v", got)
	}
}

// TestSlowPasswordTakesTooLong ends the question with the handshake.
func TestSlowPasswordTakesTooLong(t *testing.T) {
	users := newSlowUsers()
	l := socksListener(socks.Config{Users: users})
	l.Timeouts.Handshake = 50 * time.Millisecond
	p := serve(t, Options{}, l)
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(authHi+authMine))
	<-users.asked
	expect(t, c, "\x05\x02")
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("read %v, want the end", err)
	}
	if got := p.quiescent().Refused; got["handshake"] != 1 {
		t.Errorf("refused %v", got)
	}
}
