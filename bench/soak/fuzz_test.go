// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// port is where a fuzzer talks to.
type port struct {
	host             *lab.Host
	network, address string
}

// openings are beginnings of what the ports expect, so that not all ends at the
// first byte.
var openings = [][]byte{
	{},
	{5, 1, 0}, {5, 1, 2, 1, 4, 'a', 'n', 'n', 'a', 6}, {5, 1, 0, 5, 1, 0, 1, 203, 0, 113, 80, 0, 7},
	{1, 2, 0x22, 0x63, 0, 0, 0, 0}, {1, 7, 0x22, 0x63, 10, 5, 0, 7}, {1, 255, 0x22, 0x63, 20, 255},
	[]byte("GET /metrics HTTP/1.1\r\n"), []byte("POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"),
	[]byte("GET /v1/status HTTP/1.1\r\nHost: "), {43, 1, 0, 60}, {0x16, 3, 1, 2, 0},
}

// fuzz talks nonsense to every port.
func (w *world) fuzz(ctx context.Context, random *rand.Rand) {
	admin := filepath.Dir(w.home.flows)
	ports := []port{
		{w.CPE, "tcp", "192.0.2.1:8803"}, {w.CPE, "tcp", phones}, {w.Client, "tcp", "192.168.1.1:8804"},
		{w.Aggregator, "tcp", "127.0.0.1:9464"}, {w.CPE, "tcp", "127.0.0.1:9464"},
		{w.Client, "unix", filepath.Join(admin, "home.sock")}, {w.Client, "unix", filepath.Join(admin, "aggregator.sock")},
	}
	for ctx.Err() == nil {
		babble(&ports[random.IntN(len(ports))], random)
		w.tally.mu.Lock()
		w.tally.fuzzed++
		w.tally.mu.Unlock()
		time.Sleep(time.Duration(random.Int64N(int64(pause))))
	}
}

// babble has one connection with a port. How it goes is the port's business.
func babble(p *port, random *rand.Rand) {
	var c net.Conn
	err := p.host.Do(func() (err error) {
		c, err = net.DialTimeout(p.network, p.address, time.Second)
		return err
	})
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	message := append([]byte(nil), openings[random.IntN(len(openings))]...)
	for range random.IntN(600) {
		message = append(message, byte(random.Uint32()))
	}
	if len(message) > 0 && random.IntN(3) == 0 {
		message[random.IntN(len(message))] ^= 1 << random.IntN(8)
	}
	for len(message) > 0 { // in pieces, now and then
		n := len(message)
		if random.IntN(2) == 0 {
			n = 1 + random.IntN(n)
		}
		if _, err := c.Write(message[:n]); err != nil {
			return
		}
		message = message[n:]
	}
	switch random.IntN(4) {
	case 0:
		if t, is := c.(*net.TCPConn); is {
			_ = t.SetLinger(0) // ends it with a reset
		}
	case 1:
		if half, is := c.(interface{ CloseWrite() error }); is {
			_ = half.CloseWrite()
		}
	}
	c.SetReadDeadline(time.Now().Add(time.Duration(random.Int64N(int64(200 * time.Millisecond)))))
	_, _ = c.Read(make([]byte, 512))
}
