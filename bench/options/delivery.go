// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
)

// stream is what a server sends: messages that carry the time when they were
// handed to the kernel.
type stream struct {
	size  int           // of a message in bytes, at least 8
	every time.Duration // 0 is as fast as it goes
}

var (
	bulkStream = stream{size: 8 << 10}
	thinStream = stream{size: 200, every: 20 * time.Millisecond}
)

// delivery is what has become of a stream.
type delivery struct {
	// Latencies of messages in ms, from write to read.
	Latencies []float64 `json:"latencies_ms"`
	// Goodput while it was sent, in Mbit/s.
	Goodput float64 `json:"goodput_mbit_per_second"`
	// Paths is the payload sent on each of the first two.
	Paths [2]uint64 `json:"bytes_by_path"`
}

func (d delivery) percentile(p float64) float64 { return figure.Percentile(d.Latencies, p) }

// carry sends a stream under a policy over a connection of its own, once both
// paths are there. Of bulk, what has not arrived at the end is given up.
func (s *stage) carry(ctx context.Context, p bpf.Policy, st stream, hold time.Duration) (d delivery, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return d, err
	}
	defer c.abort()
	if err := errors.Join(c.settle(ctx), s.steer(c, p)); err != nil {
		return d, err
	}
	return c.deliver(ctx, st, hold)
}

// settle waits for both paths. The second is opened once a byte has gone each way.
func (c *connection) settle(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	one := make([]byte, 1)
	for _, way := range [][2]*net.TCPConn{{c.client, c.server}, {c.server, c.client}} {
		way[1].SetReadDeadline(deadline)
		if _, err := way[0].Write(one); err != nil {
			return err
		}
		if _, err := io.ReadFull(way[1], one); err != nil {
			return err
		}
	}
	return c.twoSubflows(ctx)
}

// abort ends a connection at once.
func (c *connection) abort() {
	c.client.SetLinger(0)
	c.server.SetLinger(0)
	c.close()
}

// deliver sends a stream from the server to the client.
func (c *connection) deliver(ctx context.Context, st stream, hold time.Duration) (d delivery, err error) {
	before, err := sentByPath(c)
	if err != nil {
		return d, err
	}
	start := time.Now()
	end := start.Add(hold)
	if st.every == 0 {
		c.client.SetReadDeadline(end)
	} else {
		c.client.SetReadDeadline(end.Add(patience))
	}
	c.server.SetWriteDeadline(end)
	var sending sync.WaitGroup
	sending.Go(func() {
		st.send(ctx, c, end)
		if st.every != 0 {
			c.server.CloseWrite()
		}
	})
	var bytes int
	for message := make([]byte, st.size); ; {
		if _, err = io.ReadFull(c.client, message); err != nil {
			break
		}
		now := time.Now()
		d.Latencies = append(d.Latencies, figure.Milliseconds(time.Duration(now.UnixNano()-int64(binary.BigEndian.Uint64(message)))))
		if now.Before(end) {
			bytes += st.size
		}
	}
	sending.Wait()
	// The deadline of the sender may cut the last message short.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || st.every == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	d.Goodput = float64(bytes) * 8 / 1e6 / hold.Seconds()
	after, countErr := sentByPath(c)
	for i := range d.Paths {
		d.Paths[i] = after[i] - before[i]
	}
	return d, errors.Join(err, countErr)
}

func (st stream) send(ctx context.Context, c *connection, end time.Time) {
	message := make([]byte, st.size)
	for ctx.Err() == nil && time.Now().Before(end) {
		binary.BigEndian.PutUint64(message, uint64(time.Now().UnixNano()))
		if _, err := c.server.Write(message); err != nil {
			return // which the receiver sees
		}
		if st.every != 0 && await.Pause(ctx, st.every) != nil {
			return
		}
	}
}

// sentByPath is the payload that the server has sent on each path for the first
// time and again.
func sentByPath(c *connection) (bytes [2]uint64, err error) {
	list, err := subflows(c.server)
	for _, f := range list {
		if i := int(f.ID) - 1; i >= 0 && i < len(bytes) && f.TCP.State == mptcp.StateEstablished {
			bytes[i] = f.TCP.BytesSent
		}
	}
	return bytes, err
}
