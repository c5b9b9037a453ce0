// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where ip(8) keeps named namespaces, so that `ip netns` and
// `nsenter --net=` work on a lab by hand.
const netnsDir = "/run/netns"

// shareNetnsDir makes netnsDir a shared mount before the first namespace is
// put there, as ip(8) does (iproute2, ip/ipnetns.c). Were it left to a later
// `ip netns add`, that would bind the directory over itself and keep hidden
// copies of our mounts alive. Like ip, it holds a lock on the directory
// meanwhile.
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) {
		if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", netnsDir, err)
		}
		err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("share %s: %w", netnsDir, ErrNeedsRoot)
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", netnsDir, err)
	}
	return nil
}

// onThread runs f on an OS thread of its own and puts that thread back into
// the namespace it came from. If that fails, the thread is not used again.
// A panic or runtime.Goexit (as by testing.T.FailNow) in f goes on in the
// caller.
func onThread(f func() error) error {
	var err error
	var panicked any
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		origin, openErr := netns.Get()
		if openErr != nil {
			runtime.UnlockOSThread()
			err, returned = fmt.Errorf("own network namespace: %w", openErr), true
			return
		}
		defer origin.Close()
		defer func() {
			// Without the unlock the runtime ends the thread with this goroutine.
			if netns.Set(origin) == nil {
				runtime.UnlockOSThread()
			}
		}()
		defer func() { panicked = recover() }()
		err = f()
		returned = true
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	if !returned {
		runtime.Goexit()
	}
	return err
}

// createNamespace makes a named namespace and returns a handle to it.
func createNamespace(name string) (netns.NsHandle, error) {
	ns := netns.None()
	err := onThread(func() error {
		var err error
		ns, err = netns.NewNamed(name)
		return err
	})
	if err != nil {
		// NewNamed leaves its mount point behind when the mount fails.
		os.Remove(filepath.Join(netnsDir, name))
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (%w)", ErrNeedsRoot, err)
		}
		return netns.None(), fmt.Errorf("create namespace %s: %w", name, err)
	}
	return ns, nil
}

// namespaceNames lists the named namespaces that start with prefix.
func namespaceNames(prefix string) ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// removeNamespace ends the processes in a named namespace, deletes its veths
// and then the name.
func removeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		return err
	}
	var dir unix.Stat_t
	if err := unix.Stat(netnsDir, &dir); err != nil {
		return err
	}
	if st.Dev == dir.Dev {
		// A mount point without its mount: the owner died in between.
		return os.Remove(path)
	}
	var errs []error
	errs = append(errs, endInhabitants(st.Dev, st.Ino), deleteVeths(ns))
	// The devices would go with the namespace, but a socket that lingers in
	// the kernel can keep it alive for a while.
	if err := netns.DeleteNamed(name); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func deleteVeths(ns netns.NsHandle) error {
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	links, err := nl.LinkList()
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		// Deleting one end deletes the other, which may be in this list as well.
		if err := nl.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("delete %s: %w", link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}
