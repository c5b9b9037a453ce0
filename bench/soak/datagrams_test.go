// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/radius/radiustest"
)

// changes is where the aggregator takes requests to change sessions (RFC 5176).
const changes = "127.0.0.1:3799"

// headers are beginnings of datagrams for a SOCKS5 relay (RFC 1928 section 7):
// to the server, a fragment, a name, nowhere, to everybody, and cut short.
var headers = [][]byte{
	{0, 0, 0, 1, 203, 0, 113, 80, 0, 7}, {0, 0, 1, 1, 203, 0, 113, 80, 0, 7}, {0, 0, 0, 3, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 0, 7},
	{0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}, {0, 0, 0, 1, 255, 255, 255, 255, 0, 7}, {0, 0, 0, 3, 255}, {0, 0}, {},
}

// echoDatagrams sends back what clients send.
func echoDatagrams(t *testing.T, h *lab.Host, address string) {
	t.Helper()
	c := listenPacket(t, h, address)
	var echoing sync.WaitGroup
	echoing.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from) // it may be lost as any other
		}
	})
	t.Cleanup(func() { c.Close(); echoing.Wait() })
}

func listenPacket(t *testing.T, h *lab.Host, address string) (c *net.UDPConn) {
	t.Helper()
	err := h.Do(func() error {
		pc, err := net.ListenPacket("udp", address)
		if err == nil {
			c = pc.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fuzzDatagrams talks nonsense to the ports for datagrams, and to the relay for
// them some sense as well.
func (w *world) fuzzDatagrams(t *testing.T) func(context.Context, *rand.Rand) {
	return func(ctx context.Context, random *rand.Rand) {
		for ctx.Err() == nil {
			var sent int
			if random.IntN(2) == 0 {
				sent = w.askForChanges(random)
			} else {
				var other []byte
				if sent, other = w.associate(ctx, random); other != nil {
					t.Errorf("a datagram of %d bytes came back that nobody had sent: % x", len(other), other[:min(len(other), 40)])
				}
			}
			w.tally.mu.Lock()
			w.tally.datagrams += sent
			w.tally.mu.Unlock()
			time.Sleep(time.Duration(random.Int64N(int64(pause))))
		}
	}
}

// askForChanges sends requests that change nothing: what is signed right is
// about somebody who is not there.
func (w *world) askForChanges(random *rand.Rand) (sent int) {
	c, err := dialPacket(w.Aggregator, changes)
	if err != nil {
		return 0
	}
	defer c.Close()
	for range 1 + random.IntN(4) {
		message := junk(random, 200)
		if random.IntN(2) == 0 {
			message = signed(random)
		}
		if len(message) > 0 && random.IntN(2) == 0 {
			message[random.IntN(len(message))] ^= 1 << random.IntN(8)
		}
		if _, err := c.Write(message); err == nil {
			sent++
		}
		c.SetReadDeadline(time.Now().Add(time.Duration(random.Int64N(int64(20 * time.Millisecond)))))
		_, _ = c.Read(make([]byte, radius.MaxPacketLength)) // there may be no answer
	}
	return sent
}

// signed is a request about a subscriber who has no session.
func signed(random *rand.Rand) []byte {
	code := []radius.Code{radius.CodeCoARequest, radius.CodeDisconnectRequest}[random.IntN(2)]
	p := &radius.Packet{Code: code, Identifier: byte(random.Uint32()), Secret: []byte(radiustest.Secret)}
	mac := &radius.AVP{Type: rfc2869.MessageAuthenticator_Type, Attribute: make(radius.Attribute, md5.Size)}
	p.Attributes = radius.Attributes{mac}
	p.Add(rfc2865.UserName_Type, radius.Attribute("nobody"))
	if err := rfc2869.EventTimestamp_Set(p, time.Now()); err != nil {
		return nil
	}
	for range random.IntN(3) {
		p.Add(radius.Type(1+random.IntN(254)), junk(random, 20))
	}
	unsigned, err := p.MarshalBinary()
	if err != nil {
		return nil
	}
	sum := hmac.New(md5.New, p.Secret)
	sum.Write(unsigned)
	mac.Attribute = sum.Sum(nil)
	message, err := p.Encode()
	if err != nil {
		return nil
	}
	return message
}

// associate has datagrams relayed (RFC 1928 section 7), and returns one that came
// back and is none of those, if there is one.
func (w *world) associate(ctx context.Context, random *rand.Rand) (sent int, other []byte) {
	control, err := dial(ctx, w.CPE, phones)
	if err != nil {
		return 0, nil
	}
	defer control.Close()
	relay, err := associated(control)
	if err != nil {
		return 0, nil // RADIUS may be away
	}
	c, err := dialPacket(w.CPE, relay.String())
	if err != nil {
		return 0, nil
	}
	defer c.Close()
	var messages [][]byte
	in := make([]byte, 64<<10)
	for range 1 + random.IntN(8) {
		header := headers[0]
		if random.IntN(3) == 0 {
			header = headers[random.IntN(len(headers))]
		}
		message := slices.Concat(header, junk(random, 1400))
		messages = append(messages, message)
		if _, err := c.Write(message); err == nil {
			sent++
		}
		c.SetReadDeadline(time.Now().Add(time.Duration(random.Int64N(int64(50 * time.Millisecond)))))
		n, err := c.Read(in)
		same := func(m []byte) bool { return bytes.Equal(m, in[:n]) }
		if err == nil && !slices.ContainsFunc(messages, same) {
			return sent, in[:n]
		}
	}
	return sent, nil
}

// associated asks for a relay and returns its address.
func associated(c net.Conn) (relay netip.AddrPort, err error) {
	if err := authenticate(c); err != nil {
		return relay, err
	}
	reply, err := request(c, []byte{5, 3, 0, 1, 0, 0, 0, 0, 0, 0})
	if err != nil {
		return relay, err
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[4:8])), uint16(reply[8])<<8|uint16(reply[9])), nil
}

func dialPacket(h *lab.Host, address string) (c net.Conn, err error) {
	err = h.Do(func() (err error) {
		c, err = net.Dial("udp", address)
		return err
	})
	return c, err
}

func junk(random *rand.Rand, most int) []byte {
	b := make([]byte, random.IntN(most))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}
