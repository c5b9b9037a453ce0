// SPDX-License-Identifier: Apache-2.0

package records

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestFileOfTwoProcesses has two writers rotate the same file, as the two sides of
// an upgrade do: each record is there once, and the files are no larger than they
// may be.
func TestFileOfTwoProcesses(t *testing.T) {
	const writers, records, perFile = 2, 300, 40
	dir := t.TempDir()
	path := filepath.Join(dir, "flows.json")
	line := int64(len(lineText(t)))
	var writing sync.WaitGroup
	for n := range writers {
		f, err := openFile(FileOptions{Path: path, MaxSize: perFile * line, Keep: 1000})
		if err != nil {
			t.Fatal(err)
		}
		writing.Go(func() {
			for i := range records {
				if done, err := f.write(named(fmt.Sprintf("%d-%04d", n, i))); err != nil || done != 1 {
					t.Errorf("%d records written: %v", done, err)
				}
			}
			if err := f.close(); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range files {
		for _, user := range read(t, file) {
			seen[user]++
		}
		// A writer may not have seen the last record of the other.
		if info, err := os.Stat(file); err != nil || info.Size() > (perFile+writers)*line {
			t.Errorf("%s: %v, %v", file, info.Size(), err)
		}
	}
	if len(seen) != writers*records {
		t.Errorf("%d records in %d files, want %d", len(seen), len(files), writers*records)
	}
	for user, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", user, n)
		}
	}
	if least := writers * records / (perFile + writers); len(files) < least || len(files) > 2*least {
		t.Errorf("%d files, want about %d", len(files), least)
	}
}

// TestFileMovedByOthers goes on in a new file when somebody has moved the one
// before, as logrotate does.
func TestFileMovedByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.json")
	f, err := openFile(FileOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	write := func(user string) {
		t.Helper()
		if _, err := f.write(named(user)); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	write("after")
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); len(got) != 1 || got[0] != "after" {
		t.Errorf("the new file has %v", got)
	}
}

// lineText is a line with a user name as long as those of the test.
func lineText(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "one.json")
	f, err := openFile(FileOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := f.write(named("0-0000")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
