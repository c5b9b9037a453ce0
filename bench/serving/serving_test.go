// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long what ought to be immediate may take.
const patience = 30 * time.Second

func start(t *testing.T, handle func(net.Conn)) (dial func() net.Conn, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop = Start(l, handle)
	t.Cleanup(stop)
	return func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return c
	}, stop
}

func TestEcho(t *testing.T) {
	dial, _ := start(t, Echo)
	for range 2 {
		c := dial()
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// Stop does not wait for clients that stay.
func TestStopEndsConnections(t *testing.T) {
	served := make(chan error, 1)
	dial, stop := start(t, func(c net.Conn) {
		_, err := io.Copy(c, c)
		served <- err
	})
	c := dial()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	if len(served) != 1 {
		t.Error("the connection is served still")
	}
	if _, err := net.Dial("tcp", c.RemoteAddr().String()); err == nil {
		t.Error("the listener is open")
	}
}
