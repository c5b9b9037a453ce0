// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Alone moves the goroutine of the test to a network namespace of its own, which
// has nothing but a loopback interface, until the test ends. It skips the test
// without root.
func Alone(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	inside, err := netns.New()
	if err != nil {
		runtime.UnlockOSThread()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A thread that cannot go back stays locked and dies with the test.
		if err := netns.Set(before); err != nil {
			t.Error(err)
		} else {
			runtime.UnlockOSThread()
		}
		inside.Close()
		before.Close()
	})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}
