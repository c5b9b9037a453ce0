// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// stateDir holds one file per lab. The owner keeps it locked (flock), so that
// the kernel itself tells when the owner is gone, whatever killed it; a pid
// alone could have been reused.
const stateDir = "/run/tandem-lab"

type ownerFile struct {
	file *os.File
}

func createOwnerFile(id string) (*ownerFile, error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(stateDir, id)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Clean may have removed the file between its creation and the lock.
	if _, err := os.Stat(path); err != nil {
		f.Close()
		return nil, err
	}
	fmt.Fprintf(f, "%d\n", os.Getpid())
	return &ownerFile{file: f}, nil
}

// takeOwnerFile locks the file of a lab whose owner is gone. It reports false
// when the owner still lives.
func takeOwnerFile(id string) (*ownerFile, bool) {
	f, err := os.OpenFile(filepath.Join(stateDir, id), os.O_RDWR, 0)
	if err != nil {
		return nil, false
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, false
	}
	return &ownerFile{file: f}, true
}

func (o *ownerFile) remove() error {
	err := os.Remove(o.file.Name())
	o.release()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (o *ownerFile) release() { o.file.Close() }

// Clean removes what labs left behind whose owner was killed before it could
// call Close: their processes, links and namespaces. Only labs whose name
// starts with prefix are looked at; the empty prefix means all. Labs with a
// living owner are never touched. It returns the IDs of the labs it removed.
func Clean(prefix string) ([]string, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("clean labs: %w", err)
	}
	var cleaned []string
	var errs []error
	for _, e := range entries {
		id := e.Name()
		if !strings.HasPrefix(id, IDPrefix+prefix) {
			continue
		}
		owner, ok := takeOwnerFile(id)
		if !ok {
			continue
		}
		if err := cleanLab(id); err != nil {
			owner.release()
			errs = append(errs, fmt.Errorf("clean lab %s: %w", id, err))
			continue
		}
		if err := owner.remove(); err != nil {
			errs = append(errs, fmt.Errorf("clean lab %s: %w", id, err))
			continue
		}
		cleaned = append(cleaned, id)
	}
	return cleaned, errors.Join(errs...)
}

// cleanLab removes every namespace whose name belongs to the lab.
func cleanLab(id string) error {
	names, err := namespaceNames(id + "-")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := removeNamespace(name); err != nil {
			errs = append(errs, fmt.Errorf("namespace %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
