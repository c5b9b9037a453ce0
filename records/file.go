// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// FileOptions say where JSON lines go.
type FileOptions struct {
	Path    string
	MaxSize int64         // bytes at which the file is put aside; 0 = any
	MaxAge  time.Duration // since its first record, likewise; 0 = any
	Keep    int           // files put aside that are kept: Path.1, the youngest, and so on
}

// maxWrite is how much is written at once, more or less: what stays in a cache.
const maxWrite = 64 << 10

// file is a file of JSON lines. When it is put aside it becomes Path.1, and
// what was that before Path.2. Other processes may write to the same files: the
// predecessor of an upgrade does, as long as it has connections.
type file struct {
	o     FileOptions
	now   func() time.Time
	f     *os.File
	size  int64
	since time.Time
	torn  bool   // the last line was cut off
	lines []byte // of one write

	encoder lineEncoder
}

func openFile(o FileOptions) (*file, error) {
	w := &file{o: o, now: time.Now}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	w.torn = w.size > 0 && endsTorn(o.Path, w.size)
	return w, nil
}

// endsTorn reports whether a file of some bytes ends in the middle of a line: its
// disk was full, or the machine has ended. One that cannot be read does not.
func endsTorn(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	last := make([]byte, 1)
	_, err = f.ReadAt(last, size-1)
	return err == nil && last[0] != '\n'
}

func (w *file) open() error {
	if err := os.MkdirAll(filepath.Dir(w.o.Path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(w.o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.f, w.size, w.since, w.torn = f, info.Size(), w.now(), false
	if w.size > 0 {
		w.since = info.ModTime() // the first record is not younger
	}
	return nil
}

// write implements sink.
func (w *file) write(batch []entry) (int, error) {
	done := 0
	for done < len(batch) {
		if err := w.follow(); err != nil {
			return done, err
		}
		if err := w.rotate(); err != nil {
			return done, err
		}
		if err := w.mend(); err != nil {
			return done, err
		}
		n := w.encode(batch[done:])
		if n == 0 {
			w.size = max(w.size, w.o.MaxSize) // the next record has no room
			continue
		}
		m, err := w.f.Write(w.lines)
		w.size += int64(m)
		if err != nil {
			w.torn = m > 0 && w.lines[m-1] != '\n'
			return done + bytes.Count(w.lines[:m], []byte("\n")), err
		}
		done += n
	}
	return done, nil
}

// mend ends a line that was cut off, so that it does not spoil the next one.
func (w *file) mend() error {
	if !w.torn {
		return nil
	}
	n, err := w.f.WriteString("\n")
	w.size += int64(n)
	w.torn = err != nil
	return err
}

// encode makes lines of as many records as one write may take, and as have room in
// the file; the first record of a file always has.
func (w *file) encode(batch []entry) (n int) {
	w.lines = w.lines[:0]
	for ; n < len(batch) && len(w.lines) < maxWrite; n++ {
		before := len(w.lines)
		w.lines = w.encoder.append(w.lines, &batch[n])
		if size := w.size + int64(len(w.lines)); w.o.MaxSize > 0 && size > w.o.MaxSize && w.size+int64(before) > 0 {
			w.lines = w.lines[:before]
			break
		}
	}
	return n
}

// follow opens the file anew if another process has put it aside, and learns what
// others have written.
func (w *file) follow() error {
	if w.f == nil {
		return w.open() // it failed before
	}
	here, info, err := w.here()
	if err != nil {
		return err
	}
	if here {
		w.size = max(w.size, info.Size())
		return nil
	}
	err = w.f.Close()
	w.f = nil
	return errors.Join(err, w.open())
}

// here reports whether the open file is still the one at Path.
func (w *file) here() (bool, fs.FileInfo, error) {
	mine, err := w.f.Stat()
	if err != nil {
		return false, nil, err
	}
	there, err := os.Stat(w.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, mine, nil
	}
	return err == nil && os.SameFile(mine, there), mine, err
}

// rotate puts the file aside if it is large or old enough.
func (w *file) rotate() error {
	large := w.o.MaxSize > 0 && w.size >= w.o.MaxSize
	old := w.o.MaxAge > 0 && w.size > 0 && w.now().Sub(w.since) >= w.o.MaxAge
	if !large && !old {
		return nil
	}
	err := w.putAside()
	w.f = nil
	if err != nil {
		return err
	}
	return w.open()
}

// putAside closes the file, after it was put aside by this process or another:
// whoever has the lock of the file may rename it.
func (w *file) putAside() error {
	if err := unix.Flock(int(w.f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", w.o.Path, err)
	}
	here, _, err := w.here()
	if err == nil && here {
		err = w.shift()
	}
	return errors.Join(err, w.f.Close()) // which gives the lock back
}

// shift makes room for a file at Path.
func (w *file) shift() error {
	aside := func(n int) string { return fmt.Sprintf("%s.%d", w.o.Path, n) }
	if w.o.Keep == 0 {
		return os.Remove(w.o.Path)
	}
	for n := w.o.Keep; n > 1; n-- {
		if err := os.Rename(aside(n-1), aside(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(w.o.Path, aside(1))
}

func (w *file) close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}
