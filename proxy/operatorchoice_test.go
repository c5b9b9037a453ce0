// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// TestOperatorChoosesForMany: of many connections those that are named get what
// is chosen, and what was not theirs is not taken back.
func TestOperatorChoosesForMany(t *testing.T) {
	const n = 3 * liveBatch // so that walks take several rounds
	p := serve(t, Options{Workers: 3}, asking(t))
	server := echoServer(t)
	for range n {
		askFor(t, p.addr, server, mptcp.ModeOff, "user-timeout=1h")
	}
	waiting := dialProxy(t, p.addr, mptcp.ModeOff) // has not said whereto
	var all []Live
	await(t, "the tunnels", func() bool {
		all = p.collect()
		relayed := 0
		for i := range all {
			if all[i].Relaying {
				relayed++
			}
		}
		return relayed == n && len(all) == n+1
	})
	ids := []uint64{1 << 40, 1<<40 + 1} // of nobody
	named := map[uint64]bool{}
	for i := range all {
		if i%2 == 0 || !all[i].Relaying {
			ids = append(ids, all[i].ID, all[i].ID) // once is enough
			named[all[i].ID] = all[i].Relaying
		}
	}
	choose := func(text string, clear ...options.Option) (changed, unchanged, nobody, notServed int) {
		t.Helper()
		done, err := p.Choose(t.Context(), ids, set(t, text), clear)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]bool{}
		for _, c := range done {
			if seen[c.ID] {
				t.Errorf("%d is answered twice", c.ID)
			}
			seen[c.ID] = true
			switch {
			case errors.Is(c.Err, ErrNoConnection):
				nobody++
			case errors.Is(c.Err, ErrNotServed):
				notServed++
			case c.Unchanged:
				unchanged++
			case c.Options.Granted().Has(options.InactivityTimeout) != (text != ""):
				t.Errorf("%q: %d has %s", text, c.ID, c.Options)
			default:
				changed++
			}
			if c.Err == nil && !named[c.ID] {
				t.Errorf("%d was not asked for", c.ID)
			}
		}
		return changed, unchanged, nobody, notServed
	}
	relayed := 0
	for _, r := range named {
		if r {
			relayed++
		}
	}
	if changed, unchanged, nobody, notServed := choose("inactivity-timeout=2h"); changed != relayed || unchanged != 0 || nobody != 2 || notServed != 1 {
		t.Errorf("set: %d, %d, %d, %d; want %d changed", changed, unchanged, nobody, notServed, relayed)
	}
	for _, l := range p.collect() {
		if l.Relaying && l.Options.Granted().Has(options.InactivityTimeout) != named[l.ID] {
			t.Errorf("%d has %s", l.ID, l.Options)
		}
	}
	if changed, unchanged, _, _ := choose("", options.Scheduler); changed != 0 || unchanged != relayed {
		t.Errorf("what nobody set was taken back from %d, %d stayed", changed, unchanged)
	}
	if changed, unchanged, _, _ := choose("", options.InactivityTimeout, options.Scheduler); changed != relayed || unchanged != 0 {
		t.Errorf("taken back from %d, %d stayed", changed, unchanged)
	}
	const line = "operator has changed options of a connection"
	if n := p.log.count(slog.LevelDebug, line); n != 2*relayed {
		t.Errorf("%d lines in the log, want %d", n, 2*relayed)
	}
	if n := p.log.count(slog.LevelInfo, line); n != 0 {
		t.Errorf("%d lines in the log at level info, though many were changed at once", n)
	}
	one := slices.IndexFunc(ids, func(id uint64) bool { return named[id] })
	if _, err := p.Choose(t.Context(), ids[one:one+1], set(t, "inactivity-timeout=3h"), nil); err != nil {
		t.Error(err)
	}
	if n := p.log.count(slog.LevelInfo, line); n != 1 {
		t.Errorf("%d lines in the log at level info, want that of the one that was changed", n)
	}
	if done, err := p.Choose(t.Context(), nil, set(t, "scheduler=primary"), nil); err != nil || len(done) != 0 {
		t.Errorf("of none: %v, %v", done, err)
	}
	if _, err := p.Choose(t.Context(), ids, set(t, "subflow-rate-limit=1kbit"), nil); !errors.Is(err, options.ErrRange) {
		t.Errorf("a rate that stalls: %v", err)
	}
	waiting.Close()
}
