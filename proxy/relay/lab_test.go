// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
)

// TestLinksCutInTransfer downloads and uploads over two links of which one is
// cut and restored, in turn, while bytes flow.
func TestLinksCutInTransfer(t *testing.T) {
	const (
		size = 7 << 20
		rate = 20e6
	)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: rate}, Cell: lab.LinkSpec{Rate: rate}})
	for _, direction := range []string{"download", "upload"} {
		t.Run(direction, func(t *testing.T) {
			client, server := acrossLab(t, tp)
			// A question and an answer establish the connection fully: only
			// then does the client join it over its second link.
			talk(t, client, server)
			talk(t, server, client)
			source, sink := server, client
			if direction == "upload" {
				source, sink = client, server
			}
			sent, received := sha256.New(), sha256.New()
			var arrived atomic.Int64
			errs := make(chan error, 2)
			go func() {
				body := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
				_, err := io.Copy(source, io.TeeReader(body, sent))
				if err == nil {
					err = source.CloseWrite()
				}
				errs <- err
			}()
			go func() {
				_, err := io.Copy(io.MultiWriter(received, counter{&arrived}), sink)
				errs <- err
			}()
			links := []lab.Access{tp.WiFi, tp.Cell}
			for i := range 4 {
				link := links[i%2].Link
				awaitMore(t, &arrived, size)
				if err := link.Down(); err != nil {
					t.Fatal(err)
				}
				awaitMore(t, &arrived, size)
				if err := link.Up(); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := <-errs; err != nil {
					t.Fatal(err)
				}
			}
			if arrived.Load() != size || string(sent.Sum(nil)) != string(received.Sum(nil)) {
				t.Errorf("%d bytes arrived of %d, hashes %x and %x", arrived.Load(), size, sent.Sum(nil), received.Sum(nil))
			}
		})
	}
	for _, link := range []lab.Access{tp.WiFi, tp.Cell} {
		if c, err := link.Link.Counters(); err != nil || c.Total() < size/4 {
			t.Errorf("%s carried %d bytes, %v; want a good part of both transfers", link.Dev, c.Total(), err)
		}
	}
}

func talk(t *testing.T, from, to *net.TCPConn) {
	t.Helper()
	if _, err := from.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	to.SetReadDeadline(time.Now().Add(patience))
	if _, err := to.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	to.SetReadDeadline(time.Time{})
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// awaitMore waits until another twelfth of the transfer has arrived.
func awaitMore(t *testing.T, arrived *atomic.Int64, size int64) {
	t.Helper()
	want := min(arrived.Load()+size/12, size)
	labtest.Await(t, 30*time.Second, "bytes go on arriving", func() bool { return arrived.Load() >= want })
}

// acrossLab relays on the aggregator between a client with two links and a
// server behind it.
func acrossLab(t *testing.T, tp *lab.TwoPath) (client, server *net.TCPConn) {
	t.Helper()
	r := newRig(t, tp.Aggregator.Do)
	var ear mptcp.Listener
	var at netip.AddrPort
	var fds [2]int
	steps := []struct {
		host *lab.Host
		do   func() error
	}{
		{tp.Aggregator, func() (err error) {
			ear, err = mptcp.Listen(netip.AddrPortFrom(tp.AggregatorAddr.V4, 0), mptcp.ListenOptions{Mode: mptcp.ModeRequire})
			if err != nil {
				return err
			}
			// Further subflows need the listener as well.
			t.Cleanup(func() { unix.Close(ear.FD) })
			at, err = mptcp.LocalAddr(ear.FD)
			return err
		}},
		{tp.Client, func() error {
			d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
			c, err := d.DialContext(context.Background(), "tcp", at.String())
			if err == nil {
				client = c.TCPConn
			}
			return err
		}},
		{tp.Aggregator, func() (err error) {
			if err = await(ear.FD, unix.POLLIN); err != nil {
				return err
			}
			fds[0], _, err = mptcp.Accept(ear.FD)
			return err
		}},
		{tp.Server, func() (err error) {
			l, err := mptcp.NewListener(netip.AddrPortFrom(tp.ServerAddr.V4, 0), mptcp.ListenOptions{})
			if err != nil {
				return err
			}
			defer l.Close()
			err = tp.Aggregator.Do(func() (err error) {
				fds[1], _, err = mptcp.StartConnect(l.Addr().(*net.TCPAddr).AddrPort(), nil, mptcp.ConnectOptions{})
				return err
			})
			if err != nil {
				return err
			}
			l.SetDeadline(time.Now().Add(patience))
			server, err = l.AcceptTCP()
			return err
		}},
	}
	for _, s := range steps {
		if err := s.host.Do(s.do); err != nil {
			t.Fatal(err)
		}
	}
	pair, ended, err := r.start(fds, relaytest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.on(t, func() { pair.Abort(context.Canceled) })
		client.Close()
		server.Close()
		<-ended
	})
	return client, server
}

// TestLossOfAllSubflows ends the subflows of an MPTCP leg behind its back. When
// the kernel gives the connection up, the other leg must see a reset and not
// the end of a stream that is not whole.
func TestLossOfAllSubflows(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	if err := tp.Aggregator.Sysctl("net.mptcp.close_timeout", "1"); errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	client, server := acrossLab(t, tp)
	talk(t, client, server)
	talk(t, server, client)
	var n int
	var err error
	labtest.Await(t, 6*patience, "the other leg to end", func() bool {
		// Once may be too early for a subflow that is on its way.
		if _, err := tp.Client.Command(t.Context(), "ss", "-K", "dst", tp.AggregatorAddr.V4.String()).Output(); err != nil {
			t.Skip(err)
		}
		server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err = server.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	})
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %d, %v; want a reset", n, err)
	}
}
