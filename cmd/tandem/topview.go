// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/plural"
)

// topView is what top shows: the last sample, and what has grown since the one
// before.
type topView struct {
	now     *topSample
	taken   int
	order   int   // of topOrders
	held    bool  // the picture stays
	failure error // of the last look

	counters map[string]uint64 // of the last sample
	rates    map[string]float64
}

var topOrders = []string{"rate", "bytes", "age"}

// press does what a key says, and reports whether to go on.
func (v *topView) press(key byte) bool {
	const ctrlC, ctrlD, escape = 3, 4, 0x1b
	switch key {
	case 'q', 'Q', ctrlC, ctrlD, escape:
		return false
	case 's':
		v.order = (v.order + 1) % len(topOrders)
	case ' ', 'p':
		v.held = !v.held
	}
	return true
}

// take takes a sample.
func (v *topView) take(s *topSample) {
	counters := s.counters()
	rates := make(map[string]float64, len(counters))
	if v.now != nil && v.now.status.PID == s.status.PID {
		passed := s.at.Sub(v.now.at).Seconds()
		for name, n := range counters {
			if was, known := v.counters[name]; known && n > was && passed > 0 {
				rates[name] = float64(n-was) / passed
			}
		}
	}
	v.now, v.counters, v.rates = s, counters, rates
	v.taken++
}

// counters are all that grow, by name. Their names never meet: each begins with
// another word.
func (s *topSample) counters() map[string]uint64 {
	c := map[string]uint64{
		"accepted": s.status.Connections.Accepted, "up": s.status.Connections.Up, "down": s.status.Connections.Down,
	}
	for _, n := range s.status.Connections.Refused {
		c["refused"] += n
	}
	for _, one := range s.connections {
		c[fmt.Sprint("connection up ", one.ID)], c[fmt.Sprint("connection down ", one.ID)] = one.Up, one.Down
	}
	for _, one := range s.subscribers {
		c["subscriber up "+one.Session], c["subscriber down "+one.Session] = one.Up, one.Down
	}
	for i := range s.paths {
		for j := range s.paths[i].Subflows {
			f := &s.paths[i].Subflows[j]
			up, down := f.Received, f.Sent
			if s.paths[i].Initiator {
				up, down = down, up
			}
			c[subflowKey("up", &s.paths[i], f)], c[subflowKey("down", &s.paths[i], f)] = up, down
		}
	}
	return c
}

func subflowKey(direction string, p *admin.Paths, f *admin.Subflow) string {
	return fmt.Sprint("subflow ", direction, " ", p.Token, " ", f.Local, " ", f.Remote)
}

// How a line looks.
const (
	lookPlain = iota
	lookTitle
	lookHead
)

type topLine struct {
	text string
	look int
}

// frame is the picture for a terminal of some columns and rows; 0 rows are as
// many as it takes.
func (v *topView) frame(width, height int) []topLine {
	var lines []topLine
	add := func(look int, texts ...string) {
		for _, t := range texts {
			lines = append(lines, topLine{fit(t, width), look})
		}
	}
	switch {
	case v.now == nil && v.failure == nil:
		add(lookPlain, "connecting …")
	case v.now == nil:
		add(lookPlain, strings.Split(v.failure.Error(), "\n")...)
	default:
		add(lookTitle, v.title())
		if v.failure != nil {
			add(lookPlain, "no answer: "+strings.ReplaceAll(v.failure.Error(), "\n", "; "))
		}
		add(lookPlain, v.summary()...)
		left := height - len(lines)
		tables := []topTable{v.pathTable(), v.memberTable(), v.connectionTable()}
		for i, t := range tables {
			rows := len(t.rows)
			if height > 0 {
				// A third of what is left at most, but for the last one.
				rows = min(rows, max(0, left/(len(tables)-i)-1))
				left -= rows + 1
			}
			text := t.format(rows)
			add(lookHead, pad(text[0], width))
			add(lookPlain, text[1:]...)
		}
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	return lines
}

// title says who is looked at.
func (v *topView) title() string {
	s := &v.now.status
	ebpf := "eBPF"
	if !s.Kernel.EBPF.OK {
		ebpf = "no eBPF"
	}
	mptcp := "MPTCP"
	if !s.Kernel.MPTCP.OK {
		mptcp = "no MPTCP"
	}
	held := ""
	if v.held {
		held = "  HELD: space goes on"
	}
	return fmt.Sprintf("tandem %s  %s for %s  linux %s, %s, %s  by %s  %s%s", s.Version, s.State, ageText(s.Uptime),
		s.Kernel.Release, mptcp, ebpf, topOrders[v.order], v.now.at.Format(time.TimeOnly), held)
}

func (v *topView) summary() []string {
	c := &v.now.status.Connections
	lines := []string{
		fmt.Sprintf("%s active, %.1f new/s, %s accepted (%s with MPTCP), up %s, down %s",
			plural.Digits(c.Active), v.rates["accepted"], plural.Digits(c.Accepted), plural.Digits(c.ClientMPTCP), v.bits("up"), v.bits("down")),
		fmt.Sprintf("refused %s (%.1f/s), fallbacks %s", byReason(c.Refused), v.rates["refused"], byReason(c.Fallbacks)),
	}
	var down []string
	for _, u := range v.now.status.Upstreams {
		for _, h := range u.Hops {
			if !h.Up {
				down = append(down, h.Name)
			}
		}
	}
	if len(down) > 0 {
		lines = append(lines, "down: "+strings.Join(down, ", "))
	}
	return lines
}

func (v *topView) bits(counter string) string { return bitsText(8 * v.rates[counter]) }

// pathSum is what goes over a path.
type pathSum struct {
	name     string
	subflows int
	rtt      float64 // the smallest
	up, down float64 // bytes per second
}

// pathTable sums up subflows by the access network, or else the interface, or else
// the address, that they use here.
func (v *topView) pathTable() topTable {
	sums := map[string]*pathSum{}
	for i := range v.now.paths {
		p := &v.now.paths[i]
		for j := range p.Subflows {
			f := &p.Subflows[j]
			name := cmp.Or(f.Network, f.Interface, f.Local.Addr().String())
			s := sums[name]
			if s == nil {
				s = &pathSum{name: name}
				sums[name] = s
			}
			s.subflows++
			if f.RTT > 0 && (s.rtt == 0 || f.RTT < s.rtt) {
				s.rtt = f.RTT
			}
			s.up += v.rates[subflowKey("up", p, f)]
			s.down += v.rates[subflowKey("down", p, f)]
		}
	}
	t := topTable{head: []string{"PATH", "SUBFLOWS", "RTT", "UP", "DOWN", "SHARE"}, right: []bool{false, true, true, true, true, false}}
	list := slices.SortedFunc(maps.Values(sums), func(a, b *pathSum) int {
		return cmp.Or(cmp.Compare(b.up+b.down, a.up+a.down), cmp.Compare(a.name, b.name))
	})
	var all float64
	for _, s := range list {
		all += s.up + s.down
	}
	for _, s := range list {
		share := 0.0
		if all > 0 {
			share = (s.up + s.down) / all
		}
		rtt := "-"
		if s.rtt > 0 {
			rtt = fmt.Sprintf("%.1f ms", 1000*s.rtt)
		}
		t.rows = append(t.rows, []string{harmless(s.name), plural.Digits(int64(s.subflows)), rtt, bitsText(8 * s.up), bitsText(8 * s.down),
			fmt.Sprintf("%3.0f %% %s", 100*share, strings.Repeat("█", int(20*share+0.5)))})
	}
	return t
}

// memberTable has the subscribers, or the users, or else the clients.
func (v *topView) memberTable() topTable {
	type member struct {
		name, policy, used string
		connections        int
		up, down           float64
	}
	all, what := map[string]*member{}, "CLIENT"
	for _, s := range v.now.subscribers {
		what = "SUBSCRIBER"
		all[s.Name] = &member{s.Name, s.Policy, quotaText(s.Quota), s.Connections,
			v.rates["subscriber up "+s.Session], v.rates["subscriber down "+s.Session]}
	}
	if len(all) == 0 {
		if slices.ContainsFunc(v.now.connections, func(c *admin.Connection) bool { return c.User != "" }) {
			what = "USER"
		}
		for _, c := range v.now.connections {
			name := cmp.Or(c.User, c.Client.Address.Addr().String())
			m := all[name]
			if m == nil {
				m = &member{name: name, policy: "-", used: "-"}
				all[name] = m
			}
			m.connections++
			up, down := v.of(c)
			m.up, m.down = m.up+up, m.down+down
		}
	}
	t := topTable{head: []string{what, "POLICY", "CONNECTIONS", "UP", "DOWN", "QUOTA"}, right: []bool{false, false, true, true, true, false}}
	for _, m := range slices.SortedFunc(maps.Values(all), func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.up+b.down, a.up+a.down), cmp.Compare(b.connections, a.connections), cmp.Compare(a.name, b.name))
	}) {
		t.rows = append(t.rows, []string{harmless(m.name), m.policy, plural.Digits(int64(m.connections)), bitsText(8 * m.up), bitsText(8 * m.down), m.used})
	}
	return t
}

// of is the rate of a connection, in bytes per second.
func (v *topView) of(c *admin.Connection) (up, down float64) {
	return v.rates[fmt.Sprint("connection up ", c.ID)], v.rates[fmt.Sprint("connection down ", c.ID)]
}

func (v *topView) connectionTable() topTable {
	subflows := map[admin.Token]int{}
	for i := range v.now.paths {
		subflows[v.now.paths[i].Token] = len(v.now.paths[i].Subflows)
	}
	key := func(c *admin.Connection) float64 {
		up, down := v.of(c)
		switch topOrders[v.order] {
		case "bytes":
			return float64(c.Up + c.Down)
		case "age":
			return c.Age
		}
		return up + down
	}
	list := slices.SortedFunc(slices.Values(v.now.connections), func(a, b *admin.Connection) int {
		return cmp.Or(cmp.Compare(key(b), key(a)), cmp.Compare(a.ID, b.ID))
	})
	t := topTable{
		head:  []string{"ID", "CLIENT", "SERVER", "VIA", "PATHS", "UP", "DOWN", "BYTES", "AGE", "OPTIONS"},
		right: []bool{true, false, false, false, true, true, true, true, true, false},
	}
	if v.now.more {
		t.head[0] = fmt.Sprintf("ID (first %d)", topConnections)
	}
	for _, c := range list {
		up, down := v.of(c)
		client := c.Client.Address.String()
		if c.User != "" {
			client = c.User + "@" + client
		}
		t.rows = append(t.rows, []string{
			fmt.Sprint(c.ID), harmless(client), harmless(serverText(c)), cmp.Or(c.Hop, c.Phase),
			subflowCount(&c.Client, subflows) + "→" + subflowCount(c.Server, subflows),
			bitsText(8 * up), bitsText(8 * down), bytesText(c.Up + c.Down), ageText(c.Age), harmless(optionsText(c)),
		})
	}
	return t
}

// subflowCount is how many subflows a leg has; tcp if it is plain TCP.
func subflowCount(l *admin.Leg, subflows map[admin.Token]int) string {
	switch {
	case l == nil:
		return "-"
	case !l.MPTCP:
		return "tcp"
	}
	if n, known := subflows[l.Token]; known {
		return fmt.Sprint(n)
	}
	return "?"
}

// topTable is a table of which as many rows are shown as there is room for.
type topTable struct {
	head  []string
	right []bool // columns that are aligned to the right
	rows  [][]string
}

// format returns the head and some rows as lines.
func (t *topTable) format(rows int) []string {
	shown := append([][]string{t.head}, t.rows[:rows]...)
	widths := make([]int, len(t.head))
	for _, row := range shown {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(shown))
	for n, row := range shown {
		var b strings.Builder
		for i, cell := range row {
			room := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				b.WriteString(room + cell + "  ")
			} else {
				b.WriteString(cell + room + "  ")
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	if rows < len(t.rows) {
		lines[0] += fmt.Sprintf("  (%d of %d)", rows, len(t.rows))
	}
	return lines
}

// fit cuts a line to a width.
func fit(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width])
}

// pad fills a line up to a width.
func pad(line string, width int) string {
	return line + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(line)))
}
