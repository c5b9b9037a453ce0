// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/plural"
)

// counters are nil where nobody watches subflows.
func (p *pathManagers) counters() *admin.PathCounters {
	e := p.engine.Load()
	if e == nil {
		return nil
	}
	n := e.Counters()
	refused := make(map[string]uint64, len(n.Refused))
	for errno, times := range n.Refused {
		refused[errnoText(errno)] += times
	}
	return &admin.PathCounters{
		Managed: p.managing(), Connections: n.Adopted, Subflowless: n.Subflowless,
		Opened: byCause(n.Opened), Failed: byCause(n.Failed), Closed: byCause(n.Closed), Healed: byCause(n.Healed),
		Refused: refused, OverLimit: n.OverLimit, Delayed: n.Delayed, Announced: n.Announced, Expired: n.Expired,
		Events: n.Events, LostEvents: n.LostEvents, Gaps: n.Gaps, Repairs: n.Repairs, Repaired: n.Repaired,
	}
}

func (p *pathManagers) managing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.manages
}

// errnoText is the name of an error of the kernel, as errno(3) has it.
func errnoText(errno unix.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(errno))
}

func byCause(n map[paths.Cause]uint64) map[string]uint64 {
	texts := make(map[string]uint64, len(n))
	for cause, times := range n {
		texts[cause.String()] = times
	}
	return texts
}

// printPathCounters prints them for people, the rare ones only if there are any.
func printPathCounters(line func(name, value string), n *admin.PathCounters) {
	if n == nil {
		line("subflows", `left to the kernel; "tandem paths --watch" watches them`)
		return
	}
	by := "the kernel's path manager"
	if n.Managed {
		by = "Tandem's path managers"
	}
	line("subflows", fmt.Sprintf("%s, %s connections, %s without any", by, plural.Digits(int64(n.Connections)), plural.Digits(int64(n.Subflowless))))
	line("  opened", byReason(n.Opened))
	line("  closed", byReason(n.Closed))
	line("  healed", byReason(n.Healed))
	for _, rare := range []struct {
		name   string
		counts map[string]uint64
	}{
		{"failed", n.Failed},
		{"refused", n.Refused},
		{"limits", map[string]uint64{"dropped": n.OverLimit, "delayed": n.Delayed, "expired": n.Expired}},
		{"events", map[string]uint64{"lost": n.LostEvents, "gaps": n.Gaps, "subflows repaired": n.Repaired}},
	} {
		if text := byReason(nonZero(rare.counts)); text != "none" {
			line("  "+rare.name, text)
		}
	}
}

// heldJoins are nil where nobody looks at what peers open.
func (g *gateway) heldJoins() *bpf.HeldJoins {
	if g.programs == nil {
		return nil
	}
	return g.programs.HeldJoins()
}

// printHeldJoins prints them for people, if there are any.
func printHeldJoins(line func(name, value string), n *admin.HeldJoins) {
	if n == nil || n.Held == 0 {
		return
	}
	line("  held back", fmt.Sprintf("%s until a system call ended, %s of them given up", plural.Digits(n.Held), plural.Digits(n.GivenUp)))
}

// nonZero leaves out what did not happen.
func nonZero(counts map[string]uint64) map[string]uint64 {
	some := make(map[string]uint64)
	for what, n := range counts {
		if n > 0 {
			some[what] = n
		}
	}
	return some
}
