// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

// Many connections at once through one Dialer and one Server, while keys
// rotate and the client moves from one access network to another: all of them
// are served.
func TestConcurrentExchanges(t *testing.T) {
	const rounds, connections = 100, 16
	s := NewServer(ServerConfig{Cookies: mustJar(t, secret, time.Minute)})
	d := NewDialer(DialerConfig{Servers: 64})
	extras := Extras{Options: []wire.TCPOption{{Kind: 30}}, Supported: true}
	for round := range rounds {
		now := noon.Add(time.Duration(round) * 25 * time.Second)
		client := []netip.Addr{client4, client6}[round/10%2]
		var wg sync.WaitGroup
		for i := range connections {
			wg.Go(func() {
				target := netip.AddrPortFrom(server4.Addr(), uint16(1+i))
				x, err := d.Connect(target, extras)
				if err != nil {
					t.Error(err)
					return
				}
				if err := exchange(x, s, client, now); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if !d.SpeaksMPTCP(target, now) || !d.Available(now) {
					t.Error("what was learnt is lost")
				}
			})
		}
		wg.Wait()
	}
}

func exchange(x *Exchange, s *Server, client netip.Addr, now time.Time) error {
	for {
		req, _, err := s.Read(client, x.AppendRequest(nil, now), now)
		var r *Refusal
		var reply []byte
		if errors.As(err, &r) {
			reply = r.Answer
		} else {
			reply = s.Success(nil, &req, []byte{30, 4, 0, 0}, options.Set{})
		}
		if _, _, err := x.Read(reply, now); !errors.Is(err, ErrRetry) {
			return err
		}
	}
}
