// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const storeOfChild = "TANDEM_TEST_STORE"

func thisMonth() time.Time { return Month.Start(time.Now()) }

// TestMain's process runs again as this one, which saves usage until it is
// killed, and says how much each time that it was saved.
func TestStoreChild(t *testing.T) {
	path := os.Getenv(storeOfChild)
	if path == "" {
		t.Skip("runs as a process of TestStoreIsKilled")
	}
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	for {
		batch := []Usage{{Name: "anna", Period: thisMonth(), Bytes: 1000}, {Name: "bert", Period: thisMonth(), Bytes: 1}}
		if err := s.Add(batch); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved", batch[0].Bytes)
	}
}

func TestStoreIsKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quotas")
	total := uint64(0)
	for range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestStoreChild$")
		child.Env = append(os.Environ(), storeOfChild+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		said, lines := uint64(0), bufio.NewScanner(out)
		for lines.Scan() {
			var n uint64
			if _, err := fmt.Sscanf(lines.Text(), "saved %d", &n); err == nil {
				said = n
			}
			if said >= total+20_000 {
				break
			}
		}
		_ = child.Process.Kill()
		for lines.Scan() { // what was saved until it died
			if _, err := fmt.Sscanf(lines.Text(), "saved %d", &said); err != nil {
				t.Log(lines.Text())
			}
		}
		_ = child.Wait()
		s, err := OpenStore(path)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Used("anna", thisMonth())
		if got < said || got > said+1000 || s.Used("bert", thisMonth())*1000 != got {
			t.Fatalf("anna has used %d, bert %d; the last that was saved was %d", got, s.Used("bert", thisMonth()), said)
		}
		if got < total+20_000 {
			t.Fatalf("%d after %d", got, total)
		}
		total = got
	}
}

// TestTwoProcesses has two stores on one file, as an upgrade has.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quotas")
	var stores [2]*Store
	for i := range stores {
		s, err := OpenStore(path)
		if err != nil {
			t.Fatal(err)
		}
		stores[i] = s
	}
	batch := []Usage{{Name: "anna", Period: thisMonth(), Bytes: 5}}
	for i, want := range []uint64{5, 10, 15} {
		batch[0].Bytes = 5
		if err := stores[i%2].Add(batch); err != nil || batch[0].Bytes != want {
			t.Fatalf("%d bytes in all, %v; want %d", batch[0].Bytes, err, want)
		}
	}
}

// TestPeriodOfAnotherLength has a quota per day become one per month: what is used
// of that is kept too.
func TestPeriodOfAnotherLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quotas")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	usage := func(p Period, start time.Time, bytes uint64) []Usage {
		return []Usage{{Name: "anna", Period: start, End: p.End(start), Bytes: bytes}}
	}
	// One that began a moment ago stands for a day in the middle of the month.
	today, month := now.Add(-time.Hour).UTC().Truncate(time.Second), now.AddDate(0, 0, -20).UTC().Truncate(time.Second)
	for _, batch := range [][]Usage{usage(Day, today, 3), usage(Month, month, 5), usage(Month, month, 2)} {
		if err := s.Add(batch); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Used("anna", month); got != 7 {
		t.Errorf("%d bytes of the month after a restart, want 7", got)
	}
	// What comes late of a period that is over does not count for the next one.
	if err := again.Add(usage(Day, month.AddDate(0, 0, -2), 100)); err != nil {
		t.Fatal(err)
	}
	if last, err := OpenStore(path); err != nil || last.Used("anna", month) != 7 {
		t.Errorf("%d bytes of the month, %v; want 7", last.Used("anna", month), err)
	}
}

func TestQuota(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quotas")
	d, err := NewDirectory(DirectoryConfig{Default: Policy{Down: 1_000_000, Quota: Quota{Bytes: 5000, Reduced: 100}}})
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*Registry, *Account) {
		s, err := OpenStore(path)
		if err != nil {
			t.Fatal(err)
		}
		r := newTestRegistry(t, Options{Directory: d, Store: s})
		a, err := r.Admit("anna", home, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r, a
	}
	r, a := open()
	a.Moved(Up, 3000, time.Now())
	if s := a.State(); s.Over || s.RateUp != 0 || s.RateDown != 1_000_000 {
		t.Fatalf("%+v", s)
	}
	r.Close()
	r, a = open()
	a.Moved(Down, 2000, time.Now())
	if s := a.State(); !s.Over || s.Used != 5000 || s.RateUp != 100 || s.RateDown != 100 {
		t.Fatalf("after a restart: %+v", s)
	}
	r.Close()
	r, a = open()
	if !a.State().Over {
		t.Fatalf("another session begins anew: %+v", a.State())
	}
	more := uint64(10_000)
	if _, err := r.Change(Matches{Name: "anna"}, Changes{Quota: &more}); err != nil {
		t.Fatal(err)
	}
	if s := a.State(); s.Over || s.RateDown != 1_000_000 {
		t.Fatalf("with a larger quota: %+v", s)
	}
	a.mu.Lock()
	a.settle(time.Now().AddDate(0, 1, 0))
	a.mu.Unlock()
	if s := a.State(); s.Used != 0 {
		t.Fatalf("in the next month: %+v", s)
	}
}

func TestPeriods(t *testing.T) {
	at := time.Date(2026, 11, 25, 13, 14, 15, 16, time.FixedZone("", 3600)) // a Wednesday
	for p, want := range map[Period]string{
		Month: "2026-11-01T00:00:00Z", Week: "2026-11-23T00:00:00Z", Day: "2026-11-25T00:00:00Z", Hour: "2026-11-25T12:00:00Z",
	} {
		if got := p.Start(at).Format(time.RFC3339); got != want {
			t.Errorf("the %v began at %s, want %s", p, got, want)
		}
		if end := p.End(p.Start(at)); !end.After(at) || !p.Start(end).Equal(end) || !p.Start(end.Add(-1)).Equal(p.Start(at)) {
			t.Errorf("the %v ends at %s", p, end)
		}
		if again, err := ParsePeriod(p.String()); err != nil || again != p {
			t.Errorf("%v: %v, %v", p, again, err)
		}
	}
	if _, err := ParsePeriod(strconv.Itoa(1)); err == nil {
		t.Error("1 is a period")
	}
}
