// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/userfaultfd.h.
const (
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
	uffdAPI        = 0xaa
	uffdMissing    = 1
)

// Hold has a system call that sends hold a connection, as one does whose thread
// waits for a processor: the page of zeros that it sends lies in memory that is not
// there until letGo is called, which returns when it is sent.
func Hold(t testing.TB, fd int) (letGo func()) {
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
		if n, err := unix.Write(fd, page); n != len(page) {
			t.Errorf("%d bytes sent: %v", n, err)
		}
	})
	letGo = sync.OnceFunc(func() {
		unix.Close(int(faults)) // who waits for the memory gets zeros
		sending.Wait()
		unix.Munmap(page)
	})
	t.Cleanup(letGo)
	Await(t, 30*time.Second, "somebody to read it", func() bool {
		fds := []unix.PollFd{{Fd: int32(faults), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents == unix.POLLIN
	})
	return letGo
}
