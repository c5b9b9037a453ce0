// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
)

// relayed is a network with tandem in its middle, and servers that echo.
type relayed struct {
	*lab.TwoPath
	tandem *apps.Tandem
}

const (
	relayTo7  = "listeners:\n  - {name: first, type: forward, listen: ['192.0.2.1:7007'], allow-from: [198.51.100.0/24], forward: {target: '203.0.113.80:7'}}\n"
	relayTo77 = relayTo7 + "  - {name: second, type: forward, listen: ['192.0.2.1:7077'], allow-from: [198.51.100.0/24], forward: {target: '203.0.113.80:77'}}\n"
)

func newRelayed(t *testing.T, config string) *relayed {
	t.Helper()
	r := &relayed{TwoPath: labtest.TwoPath(t, lab.TwoPathSpec{})}
	echo(t, r.Server, "203.0.113.80:7")
	echo(t, r.Server, "203.0.113.80:77")
	r.tandem = runTandem(t, r.Aggregator, config)
	return r
}

// echo serves connections on an address of a host until the end of the test.
func echo(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	t.Cleanup(serving.Start(listenOn(t, h, addr), serving.Echo))
}

func (r *relayed) dial(addr string) (net.Conn, error) {
	var c net.Conn
	err := r.Client.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	return c, err
}

// tunnel opens a connection and sees that it works.
func (r *relayed) tunnel(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := r.dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	exchange(t, c)
	return c
}

// stillThere is what exchange says.
const stillThere = "still there?"

func exchange(t *testing.T, c net.Conn) {
	t.Helper()
	if err := tryExchange(c); err != nil {
		t.Fatal(err)
	}
}

func tryExchange(c net.Conn) error {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, stillThere); err != nil {
		return err
	}
	b := make([]byte, len(stillThere))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != stillThere {
		return fmt.Errorf("read %q: %w", b, err)
	}
	return nil
}

func (r *relayed) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := r.tandem.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// awaitRefusal waits until nobody listens on an address any more.
func (r *relayed) awaitRefusal(t *testing.T, addr string) {
	t.Helper()
	labtest.Await(t, 30*time.Second, addr+" to be closed", func() bool {
		c, err := r.dial(addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

func (r *relayed) awaitExit(t *testing.T) {
	t.Helper()
	select {
	case <-r.tandem.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("tandem does not end")
	}
	if code := r.tandem.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDrain(t *testing.T) {
	r := newRelayed(t, relayTo7)
	c := r.tunnel(t, "192.0.2.1:7007")
	r.signal(t, syscall.SIGTERM)
	r.awaitRefusal(t, "192.0.2.1:7007")
	exchange(t, c)
	if r.tandem.ExitCode() != -1 {
		t.Error("tandem did not wait for its connection")
	}
	c.Close()
	r.awaitExit(t)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	r := newRelayed(t, "drain-timeout: 1h\n"+relayTo7)
	c := r.tunnel(t, "192.0.2.1:7007")
	r.signal(t, syscall.SIGTERM)
	r.awaitRefusal(t, "192.0.2.1:7007")
	r.signal(t, syscall.SIGTERM)
	r.awaitExit(t)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
	if !logged(r.tandem, "level=WARN", "connections=1") {
		t.Error("no word of the connection that was ended")
	}
}

func TestReload(t *testing.T) {
	r := newRelayed(t, relayTo7)
	c := r.tunnel(t, "192.0.2.1:7007")

	r.write(t, relayTo77)
	r.signal(t, syscall.SIGHUP)
	awaitLog(t, r.tandem, "configuration reloaded", "listeners=2")
	r.tunnel(t, "192.0.2.1:7077")
	exchange(t, c)

	r.write(t, strings.Replace(relayTo7, "7007", "seven", 1))
	r.signal(t, syscall.SIGHUP)
	awaitLog(t, r.tandem, "level=ERROR", "listeners[0].listen")
	r.tunnel(t, "192.0.2.1:7077")
	exchange(t, c)

	// The address is taken by another program: nothing changes either.
	echo(t, r.Aggregator, "192.0.2.1:7777")
	r.write(t, strings.Replace(relayTo77, "7077", "7777", 1))
	r.signal(t, syscall.SIGHUP)
	awaitLog(t, r.tandem, "level=ERROR", "address already in use")
	r.tunnel(t, "192.0.2.1:7077")

	// Other socket options on the same address.
	r.write(t, strings.Replace(relayTo7, "type: forward,", "type: forward, mptcp: off,", 1))
	r.signal(t, syscall.SIGHUP)
	labtest.Await(t, 30*time.Second, "the third reload", func() bool {
		return strings.Count(r.tandem.Log.String(), "configuration reloaded") == 2
	})
	r.tunnel(t, "192.0.2.1:7007")
	r.awaitRefusal(t, "192.0.2.1:7077")
	exchange(t, c)
}

func (r *relayed) write(t *testing.T, config string) {
	t.Helper()
	if err := r.tandem.Write(complete(config)); err != nil {
		t.Fatal(err)
	}
}

// TestKilled shows that nothing of a killed tandem keeps the next one from
// starting.
func TestKilled(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	echo(t, tp.Server, "203.0.113.80:7")
	server := netip.MustParseAddrPort("192.0.2.1:7007")
	for range 2 {
		r := &relayed{TwoPath: tp, tandem: startTandem(t, tp.Aggregator, relayTo7)}
		r.tunnel(t, server.String())
		r.signal(t, syscall.SIGKILL)
		<-r.tandem.Done()
	}
	r := &relayed{TwoPath: tp, tandem: runTandem(t, tp.Aggregator, relayTo7)}
	r.tunnel(t, server.String())
}
