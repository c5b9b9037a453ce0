// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netns"
)

// Record is what is known of a lab of this machine.
type Record struct {
	ID    string
	Hosts []string
	// Orphaned labs have lost their owner: [Clean] removes them.
	Orphaned bool
}

// List lists the labs of this machine, whoever owns them.
func List() ([]Record, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var records []Record
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), IDPrefix) {
			continue
		}
		names, err := namespaceNames(e.Name() + "-")
		if err != nil {
			return nil, fmt.Errorf("list labs: %w", err)
		}
		r := Record{ID: e.Name()}
		for _, name := range names {
			r.Hosts = append(r.Hosts, strings.TrimPrefix(name, e.Name()+"-"))
		}
		if owner, ok := takeOwnerFile(e.Name()); ok {
			r.Orphaned = true
			owner.release()
		}
		records = append(records, r)
	}
	return records, nil
}

// Exec replaces this process by a command inside a host of a lab, which may
// belong to another process. It returns only on an error.
func Exec(id, host string, args []string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	origin, err := netns.Get()
	if err != nil {
		return err
	}
	defer origin.Close()
	ns, err := netns.GetFromPath(filepath.Join(netnsDir, id+"-"+host))
	if err != nil {
		return fmt.Errorf("host %q of lab %s: %w", host, id, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("host %q of lab %s: %w", host, id, err)
	}
	err = syscall.Exec(program, args, os.Environ())
	return errors.Join(fmt.Errorf("%s on %q: %w", program, host, err), netns.Set(origin))
}
