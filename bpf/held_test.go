// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"io"
	"net"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// Of linux/userfaultfd.h.
const (
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
	uffdAPI        = 0xaa
	uffdMissing    = 1
)

// hold has a system call that sends hold a connection, as one does whose thread
// waits for a processor: what it sends to the peer lies in memory that is not there
// until letGo is called.
func hold(t *testing.T, c, peer *net.TCPConn) (letGo func()) {
	t.Helper()
	// Others than nonblocking ones are never worth waiting for (fs/userfaultfd.c,
	// userfaultfd_poll).
	faults, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		t.Skipf("needs userfaultfd: %v", errno)
	}
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI}
	missing := struct{ start, size, mode, ioctls uint64 }{
		uint64(uintptr(unsafe.Pointer(&page[0]))), uint64(len(page)), uffdMissing, 0,
	}
	for _, request := range []struct {
		number uintptr
		about  unsafe.Pointer
	}{{uffdioAPI, unsafe.Pointer(&api)}, {uffdioRegister, unsafe.Pointer(&missing)}} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, faults, request.number, uintptr(request.about)); errno != 0 {
			t.Fatal(errno)
		}
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := c.Write(page); err != nil {
			t.Error(err)
		}
	})
	letGo = sync.OnceFunc(func() {
		unix.Close(int(faults)) // who waits for the memory gets zeros
		if _, err := io.CopyN(io.Discard, peer, int64(len(page))); err != nil {
			t.Error(err)
		}
		sending.Wait()
		unix.Munmap(page)
	})
	t.Cleanup(letGo)
	labtest.Await(t, patience, "somebody to read it", func() bool {
		fds := []unix.PollFd{{Fd: int32(faults), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents == unix.POLLIN
	})
	return letGo
}

// TestJoinWhileHeld has a peer open a subflow while a system call holds the
// connection. The kernel numbers it when that ends; it is to get its share
// nevertheless.
func TestJoinWhileHeld(t *testing.T) {
	link := lab.LinkSpec{Rate: 40e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	labtest.Start(t, tp.Client, "ip", "mptcp", "endpoint", "flush").Wait()
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Aggregator, Options{Steering: true})}
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	answer := &ends{client: e.server, server: e.client, clientToken: e.serverToken}
	weighted := Policy{Scheduler: Weighted}
	weighted.Paths[0].Weight, weighted.Paths[1].Weight = 50, 50
	at(t, tp.Aggregator, func() error { return c.s.Set(answer.clientToken, weighted) })

	letGo := hold(t, answer.client, answer.server)
	if err := tp.Client.Endpoint(tp.Cell.Addr.V4, tp.Cell.Dev, "subflow"); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "the second path to be known", func() bool {
		var raw schedulerConnection
		err := c.s.common.Maps[schedulerMapConnections].Lookup(&answer.clientToken, &raw)
		return err == nil && raw.Paths[1].Addresses != 0
	})
	if n := c.state(t, answer)[1].Subflow; n != Unnumbered {
		t.Errorf("the second path has subflow %d while the connection is held", n)
	}
	letGo()
	stop := answer.bulk(t)
	c.awaitSent(t, answer, 1, 500_000)
	if n := c.state(t, answer)[1].Subflow; n != 2 {
		t.Errorf("the second path has subflow %d, want 2", n)
	}
	stop()
}
