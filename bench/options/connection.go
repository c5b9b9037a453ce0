// SPDX-License-Identifier: Apache-2.0

package options

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
)

// connection is an MPTCP connection of a stage, opened by the client.
type connection struct {
	client, server           *net.TCPConn
	clientToken, serverToken uint32
}

func (s *stage) connect(ctx context.Context) (*connection, error) {
	c := &connection{}
	var opened *mptcp.Conn
	err := s.Client.Do(func() (err error) {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		opened, err = d.DialContext(ctx, "tcp", s.ln.Addr().String())
		return err
	})
	if err != nil {
		return nil, err
	}
	c.client = opened.TCPConn
	s.ln.SetDeadline(time.Now().Add(patience))
	if c.server, err = s.ln.AcceptTCP(); err != nil {
		c.client.Close()
		return nil, err
	}
	if c.clientToken, err = token(c.client); err == nil {
		c.serverToken, err = token(c.server)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	if s.manager != nil {
		s.manager.Adopt(c.clientToken, &paths.Policy{Manager: paths.FullMesh{}}, true)
	}
	return c, nil
}

func (c *connection) close() {
	c.client.Close()
	c.server.Close()
}

func token(c *net.TCPConn) (uint32, error) {
	status, err := mptcp.StatusOf(c)
	return status.Token, err
}

// subflows are the live ones, as one end sees them.
func subflows(c *net.TCPConn) (list []mptcp.Subflow, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if controlErr := raw.Control(func(fd uintptr) { list, err = mptcp.Subflows(int(fd)) }); controlErr != nil {
		return nil, controlErr
	}
	return list, err
}

// twoSubflows waits until data can take both paths.
func (c *connection) twoSubflows(ctx context.Context) error {
	return await.Until(ctx, patience, time.Millisecond, "second subflow", func() (bool, error) {
		list, err := subflows(c.server)
		return len(list) == 2 && list[0].TCP.State == mptcp.StateEstablished && list[1].TCP.State == mptcp.StateEstablished, err
	})
}

// download is bulk from the server to the client that both ends look at.
type download struct {
	*connection
	received atomic.Int64
	ending   atomic.Bool
	moving   sync.WaitGroup
	sent     [sha256.Size]byte
	got      [sha256.Size]byte
	sentErr  error
	gotErr   error
}

func startDownload(c *connection) *download {
	d := &download{connection: c}
	d.moving.Go(func() { d.sent, d.sentErr = d.send() })
	d.moving.Go(func() { d.got, d.gotErr = d.receive() })
	return d
}

func (d *download) send() (sum [sha256.Size]byte, err error) {
	random := rand.NewChaCha8([32]byte(bytes.Repeat([]byte{7}, 32)))
	h := sha256.New()
	block := make([]byte, 32<<10)
	for !d.ending.Load() {
		random.Read(block)
		h.Write(block)
		if _, err := d.server.Write(block); err != nil {
			return sum, err
		}
	}
	return sumOf(h), d.server.CloseWrite()
}

func (d *download) receive() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	block := make([]byte, 256<<10)
	for {
		n, err := d.client.Read(block)
		h.Write(block[:n])
		d.received.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return sumOf(h), nil
		}
		if err != nil {
			return sum, err
		}
	}
}

func sumOf(h hash.Hash) (sum [sha256.Size]byte) {
	h.Sum(sum[:0])
	return sum
}

// end ends the transfer, waits for what is under way, closes the connection, and
// compares what was received with what was sent.
func (d *download) end() error {
	d.ending.Store(true)
	// Paths that do not move would have it wait for ever.
	deadline := time.Now().Add(patience)
	d.server.SetWriteDeadline(deadline)
	d.client.SetReadDeadline(deadline)
	d.moving.Wait()
	d.close()
	if err := errors.Join(d.sentErr, d.gotErr); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if d.sent != d.got {
		return workload.ErrOtherBytes
	}
	return nil
}
