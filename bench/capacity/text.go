// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// Write writes the plan for people to read: costs, assumptions with the flags
// of the calculator that change them, and what follows.
func (p *Plan) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say := func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
	p.writeCosts(say)
	p.writeAssumptions(say)

	c, m, r := &p.Core, &p.Machine, &p.Region
	say("\nOne core")
	say("  alone\t%s, or %s new connections/s, without head room", scaled(c.Bits, "bit/s"), count(c.Connections))
	say("  in the busiest hour\t%s subscribers, who need %s of memory", count(c.Subscribers), scaled(c.MemoryBytes, "B"))
	say("\nOne machine, of which %s stays free", percent(p.Assumptions.HeadRoom))
	for _, resource := range resources {
		binds := ""
		if resource == m.Binds {
			binds = ": it binds"
		}
		if m.Limits[resource] >= unlimited {
			say("  %s\tis not used", resource)
			continue
		}
		say("  %s\tis enough for %s subscribers%s", resource, count(m.Limits[resource]), binds)
	}
	writeNeed(say, &m.Need)
	machines := "machines"
	if r.Machines == 1 {
		machines = "machine"
	}
	say("\nThe region: %s %s", count(float64(r.Machines)), machines)
	writeNeed(say, &r.Need)
	return t.Flush()
}

func (p *Plan) writeCosts(say func(string, ...any)) {
	c := &p.Costs
	say("Costs, %s", c.Origin)
	if c.About != "" {
		say("  on\t%s", c.About)
	}
	beside := func(what string, n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf(what, count(float64(n)))
	}
	say("  a new connection\t%s µs of CPU%s", experiment.Number(c.ConnectionCPU*1e6), beside(", beside %s idle ones", c.Connections))
	say("  a gigabyte\t%s s of CPU%s", experiment.Number(c.GigabyteCPU), beside(", on %s connections at once", c.Busy))
	say("  an idle tunnel\t%s of Tandem, %s of the kernel, %s µs of CPU per second", scaled(c.TunnelUser, "B"), scaled(c.TunnelKernel, "B"), experiment.Number(c.TunnelCPU*1e6))
	say("  no connections\t%s", scaled(c.Base, "B"))
}

func (p *Plan) writeAssumptions(say func(string, ...any)) {
	a := &p.Assumptions
	say("\nAssumptions on the busiest hour, with their flags")
	for _, x := range [][3]string{
		{"subscribers", count(a.Subscribers), ""},
		{"active", percent(a.Active), "of them carry data"},
		{"mbit", plain(a.Mbit), "Mbit/s of each of these on average, both directions together"},
		{"connections", plain(a.Connections), "new connections of each of these in that hour"},
		{"lifetime", a.Lifetime.String(), "for which such a connection lives"},
		{"tunnels", plain(a.Tunnels), "idle connections of every subscriber"},
		{"round-trip", a.RoundTrip.String(), "to the subscriber, whose unacknowledged bytes are in memory"},
		{"head-room", percent(a.HeadRoom), "of a machine stays free"},
		{"cores", plain(a.Cores), "of a machine"},
		{"memory", plain(a.Memory / 1e9), "GB of a machine"},
		{"reserved", plain(a.Reserved / 1e9), "GB of it for the rest of the system"},
		{"link", plain(a.Link / 1e9), "Gbit/s of a machine in each direction"},
	} {
		say("  --%s\t%s\t%s", x[0], x[1], x[2])
	}
}

func writeNeed(say func(string, ...any), n *Need) {
	say("  subscribers\t%s", count(n.Subscribers))
	say("  they carry\t%s, %s new connections/s, %s connections at the same time", scaled(n.Bits, "bit/s"), count(n.Connections), count(n.Tunnels))
	say("  busy cores\t%s: %s for bytes, %s for new connections, %s for idle ones", experiment.Number(n.Cores),
		experiment.Number(n.CoresForBytes), experiment.Number(n.CoresForOpening), experiment.Number(n.CoresForIdling))
	say("  used memory\t%s: %s for connections, %s for bytes in flight", scaled(n.Memory, "B"), scaled(n.MemoryForTunnels, "B"), scaled(n.MemoryInFlight, "B"))
}

// scaled is a value with three digits and a decimal prefix.
func scaled(v float64, unit string) string {
	prefix := 0
	for ; v >= 999.5 && prefix < 6; prefix++ {
		v /= 1000
	}
	return experiment.Number(v) + " " + []string{"", "k", "M", "G", "T", "P", "E"}[prefix] + unit
}

// count is a whole number with its thousands apart: 1,234,567.
func count(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plain(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func percent(v float64) string { return plain(math.Round(v*1e4)/100) + " %" }
