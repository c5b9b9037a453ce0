// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves one connection after the other until the end of the test.
func serve(t *testing.T, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			handle(c)
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// confirm reads to the end and says how many bytes there were, give or take.
func confirm(c *net.TCPConn, wrongBy int64) {
	n, _ := io.Copy(io.Discard, c)
	c.Write(binary.BigEndian.AppendUint64(nil, uint64(n+wrongBy)))
}

func TestBulk(t *testing.T) {
	over := make(chan struct{}) // the client has lost patience
	for _, tt := range []struct {
		name     string
		workload Workload
		server   func(*net.TCPConn)
		want     string // part of the error
		check    func(*Result) bool
	}{
		{"confirmed", BulkUp, func(c *net.TCPConn) { confirm(c, 0) }, "",
			func(r *Result) bool { return r.Bytes > 0 && r.Total > r.Bytes && r.Unconfirmed == 0 }},
		{"bytes are lost", BulkUp, func(c *net.TCPConn) { confirm(c, -1) }, "the source received", nil},
		{"half-close is not kept", BulkUp, func(c *net.TCPConn) { io.Copy(io.Discard, c) }, "",
			func(r *Result) bool { return r.Unconfirmed == 1 && r.Bytes > 0 }},
		{"half-close is not passed on", BulkUp, func(c *net.TCPConn) {
			io.Copy(io.Discard, c)
			<-over
		}, "wait for the source to confirm", nil},
		{"reset", BulkUp, func(c *net.TCPConn) { c.SetLinger(0) }, "reset", nil},
		{"received", BulkDown, flood, "", func(r *Result) bool { return r.Bytes > 0 && r.Elapsed >= 50*time.Millisecond }},
		{"nothing is sent", BulkDown, func(c *net.TCPConn) { io.Copy(io.Discard, c) }, "timeout", nil},
		{"ends early", BulkDown, func(c *net.TCPConn) { c.Write(make([]byte, 10)) }, "EOF", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			job := Job{
				Workload: tt.workload, Via: serve(t, tt.server), Streams: 1,
				WarmUp: 50 * time.Millisecond, Duration: 50 * time.Millisecond, Patience: 300 * time.Millisecond,
			}
			r, err := runBulk(t.Context(), &job)
			if tt.name == "half-close is not passed on" {
				close(over)
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != "" {
				if r.Failed != 1 || !strings.Contains(r.Error, tt.want) {
					t.Errorf("%+v, want an error with %q", r, tt.want)
				}
				return
			}
			if r.Failed != 0 || !tt.check(&r) {
				t.Errorf("%+v", r)
			}
		})
	}
}
