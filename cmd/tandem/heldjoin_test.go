// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestJoinWhileHeld has the kernel of a client open a subflow while a system call
// holds the connection at an aggregator that leaves subflows to the kernel, too,
// and data come on it before what precedes it in the stream. Operators see that.
func TestJoinWhileHeld(t *testing.T) {
	link := lab.LinkSpec{Rate: 20e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	labtest.Start(t, tp.Client, "ip", "mptcp", "endpoint", "flush").Wait()
	entry, target := netip.AddrPortFrom(tp.AggregatorAddr.V4, 7000), netip.AddrPortFrom(tp.ServerAddr.V4, 7000)
	operator, config := operatorAt(t, 0)
	tandem := runTandem(t, tp.Aggregator, config+"telemetry: {prometheus: {listen: ['127.0.0.1:9464']}}\n"+fmt.Sprintf(
		"listeners:\n  - {name: app, type: forward, listen: ['%s'], allow-from: [198.51.100.0/24], forward: {target: '%s'}, paths: {manager: kernel}}\n", entry, target))
	if line := bannerLine(t, tandem, "eBPF"); line != "yes" {
		t.Skip("eBPF: ", line)
	}
	client, server := throughTandem(t, tp, entry, target)
	if n, text := heldJoins(t, operator); n.Held != 0 || strings.Contains(text, "held back") {
		t.Errorf("before anything was held: %+v, printed %s", n, text)
	}

	letGo := labtest.Hold(t, socketTo(t, tandem.Pid(), client.LocalAddr().(*net.TCPAddr).AddrPort()))
	labtest.Start(t, tp.Aggregator, "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in iifname wifi drop").Wait()
	data := make([]byte, 400_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	const onFirst, onSecond = 10_000, 10_000
	write := func(part []byte) {
		if _, err := client.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	write(data[:onFirst])
	if err := tp.Client.Endpoint(tp.Cell.Addr.V4, tp.Cell.Dev, "subflow"); err != nil {
		t.Fatal(err)
	}
	second := func() (acked uint64, established bool) {
		raw, err := client.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var list []mptcp.Subflow
		if controlErr := raw.Control(func(fd uintptr) { list, err = mptcp.Subflows(int(fd)) }); controlErr != nil || err != nil {
			t.Fatal(controlErr, err)
		}
		if len(list) < 2 {
			return 0, false
		}
		return list[1].TCP.BytesAcked, list[1].TCP.State == mptcp.StateEstablished
	}
	labtest.Await(t, patience, "the second subflow", func() bool { _, established := second(); return established })
	write(data[onFirst : onFirst+onSecond])
	labtest.Await(t, patience, "data on it", func() bool { acked, _ := second(); return acked >= onSecond })
	letGo()
	labtest.Start(t, tp.Aggregator, "nft", "delete table inet t").Wait()

	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(data[onFirst+onSecond:])
		sent <- errors.Join(err, client.CloseWrite())
	}()
	if err := server.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes have come, not all of them right: %v", len(got), len(data), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if n, text := heldJoins(t, operator); n.Held != 1 || !strings.Contains(text, "held back    1 until a system call ended") {
		t.Errorf("after one was held: %+v, printed %s", n, text)
	}
	if got := string(labtest.Curl(t, tp.Aggregator, "http://127.0.0.1:9464/metrics").Body); !strings.Contains(got, "\ntandem_subflows_held_total 1\n") {
		t.Errorf("metrics %s", got)
	}
}

// heldJoins is what operators see of them, also printed.
func heldJoins(t *testing.T, operator *admin.Client) (*admin.HeldJoins, string) {
	t.Helper()
	s, err := operator.Status(t.Context())
	if err != nil || s.HeldJoins == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	var text strings.Builder
	if err := printStatus(&text, &s, time.Now()); err != nil {
		t.Fatal(err)
	}
	return s.HeldJoins, text.String()
}

// throughTandem connects to the entry over MPTCP, and returns what the server at
// the target gets. Something has been sent both ways, so that subflows may join.
func throughTandem(t *testing.T, tp *lab.TwoPath, entry, target netip.AddrPort) (client *mptcp.Conn, server net.Conn) {
	t.Helper()
	var ln net.Listener
	if err := tp.Server.Do(func() (err error) {
		ln, err = mptcp.NewListener(target, mptcp.ListenOptions{Mode: mptcp.ModeOff})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := tp.Client.Do(func() (err error) {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		client, err = d.DialContext(t.Context(), "tcp", entry.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	var one [1]byte
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		if _, err := way[0].Write(one[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], one[:]); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

// socketTo is the socket that a process has connected with a peer. It is closed
// at the end of the test.
func socketTo(t *testing.T, pid int, peer netip.AddrPort) int {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			continue // it has been closed
		}
		if addr, err := mptcp.RemoteAddr(fd); err == nil && addr == peer {
			t.Cleanup(func() { unix.Close(fd) })
			return fd
		}
		unix.Close(fd)
	}
	t.Fatalf("process %d has no connection with %v", pid, peer)
	return -1
}
