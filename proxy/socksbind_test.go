// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func TestSOCKSBind(t *testing.T) {
	for _, test := range []struct {
		name string
		peer string
		code socks.Code // of the second reply
	}{
		{"expected peer", "127.0.0.1", socks.Succeeded},
		{"any peer", "0.0.0.0", socks.Succeeded},
		{"peer that never comes", "127.0.0.9", socks.TTLExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := socksListener(socks.Config{Bind: true})
			complete(l)
			if test.code != socks.Succeeded {
				l.Timeouts.Connect = 100 * time.Millisecond
			}
			p := serve(t, Options{}, l)
			p.KeepLocal(true)
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(hello+request(socks.Bind, netip.AddrPortFrom(netip.MustParseAddr(test.peer), 0))))
			expect(t, c, welcome)
			code, where := readReply(t, c)
			if code != socks.Succeeded || where.Port() == 0 {
				t.Fatalf("first reply %v %v", code, where)
			}
			peer, err := net.Dial("tcp", where.String())
			if err == nil {
				defer peer.Close()
			} else if test.code == socks.Succeeded {
				t.Fatal(err)
			}
			code, who := readReply(t, c)
			if code != test.code {
				t.Fatalf("second reply %v", code)
			}
			if code == socks.Succeeded {
				if local := peer.LocalAddr().(*net.TCPAddr).AddrPort(); who != local {
					t.Errorf("peer %v, want %v", who, local)
				}
				send(t, peer, []byte("from the peer"))
				expect(t, c, "from the peer")
				send(t, c, []byte("from the client"))
				expect(t, peer, "from the client")
				peer.Close()
			}
			c.Close()
			p.quiescent()
			if r := p.records.wait(t, 1)[0]; code == socks.Succeeded && (r.Server != who || r.Local != where) {
				t.Errorf("record %+v, want server %v and local %v", r, who, where)
			}
		})
	}
}

func TestSOCKSBindEndsWithItsClient(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{Bind: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Bind, netip.MustParseAddrPort("127.0.0.1:0"))))
	expect(t, c, welcome)
	_, where := readReply(t, c)
	c.Close()
	p.quiescent()
	await(t, "the listening socket to close", func() bool {
		conn, err := net.Dial("tcp", where.String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
}
