// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseStat(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       stat
		err        error
	}{
		{
			name: "usual",
			text: "4242 (haproxy) S 1 4240 1 0 -1 4194560 2 3 4 5 150 250 3 4 20 0 2 0 999 1 2",
			want: stat{state: 'S', pgrp: 4240, waited: 70 * time.Millisecond},
		},
		{
			name: "name with spaces and parentheses",
			text: "7 (nginx: (w) x) R 1 7 1 0 -1 0 0 0 0 0 1 0 0 0 20 0 1 0 9",
			want: stat{state: 'R', pgrp: 7},
		},
		{name: "empty", err: errNoClose},
		{name: "cut short", text: "7 (x) R 1 7 1 0 -1 0 0 0 0 0 1 0 0", err: errShort},
		{name: "not a number", text: "7 (x) R 1 y 1 0 -1 0 0 0 0 0 1 0 0 0 20", err: strconv.ErrSyntax},
		{name: "not a time", text: "7 (x) R 1 7 1 0 -1 0 0 0 0 0 1 0 z 0 20", err: strconv.ErrSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.text))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(stat{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseRollup(t *testing.T) {
	const rollup = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:   20 kB\nPss:       1234 kB\nPss_Dirty:  7 kB\nPss_Anon:  99 kB\n"
	for key, want := range map[string]int64{"Pss:": 1234 << 10, "Pss_Anon:": 99 << 10} {
		if got, err := parseRollup([]byte(rollup), key); err != nil || got != want {
			t.Errorf("%s %d, %v, want %d", key, got, err, want)
		}
	}
	if _, err := parseRollup([]byte("Rss: 1 kB\n"), "Pss:"); !errors.Is(err, errNoSize) {
		t.Errorf("without the line: %v", err)
	}
	for _, bad := range []string{"Pss: 1 MB\n", "Pss: x kB\n", "Pss:\n"} {
		if n, err := parseRollup([]byte(bad), "Pss:"); err == nil {
			t.Errorf("%q gives %d", bad, n)
		}
	}
}

// TestGroup looks at a shell that has burnt CPU time, and at its child.
func TestGroup(t *testing.T) {
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec 7</dev/null; sleep 60 & echo; wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := Group{PGID: cmd.Process.Pid}
	t.Cleanup(func() {
		syscall.Kill(-g.PGID, syscall.SIGKILL)
		cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.Processes != 2 || u.CPU <= 0 || u.Memory < int64(os.Getpagesize()) || u.Anonymous <= 0 || u.Anonymous > u.Memory || u.Descriptors < 8 {
		t.Errorf("%+v, want 2 processes, some CPU time and memory, at least 8 descriptors", u)
	}
	if u.CPU%tick == 0 {
		t.Errorf("CPU time %v is in ticks", u.CPU)
	}
	cpu, err := g.CPU()
	if err != nil || cpu < u.CPU {
		t.Errorf("CPU %v, %v, want at least %v", cpu, err, u.CPU)
	}
	none := Group{PGID: 1 << 30}
	if u, err := none.Usage(); err != nil || !cmp.Equal(u, Usage{}, cmpopts.EquateEmpty()) {
		t.Errorf("of no process: %+v, %v", u, err)
	}
}
