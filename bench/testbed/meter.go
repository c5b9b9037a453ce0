// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// installMeter has the edge count what each way sends and receives on each access
// link, in bytes of IP packets. Named counters are read at once.
func (b *Bed) installMeter(ctx context.Context) error {
	var counters, out, in strings.Builder
	for _, port := range b.ports() {
		for _, link := range b.site.access {
			for _, direction := range []string{"up", "down"} {
				fmt.Fprintf(&counters, " counter %s {}\n", counterName(port, link, direction))
			}
			fmt.Fprintf(&out, "  oifname %q tcp dport %d counter name %s\n", link, port, counterName(port, link, "up"))
			fmt.Fprintf(&in, "  iifname %q tcp sport %d counter name %s\n", link, port, counterName(port, link, "down"))
		}
	}
	p := b.Edge.Command(ctx, "nft", "-f", "-")
	p.Stdin = strings.NewReader(fmt.Sprintf(`table inet ways {
%s chain out {
  type filter hook postrouting priority 300
%s }
 chain received {
  type filter hook prerouting priority -310
%s }
}
`, &counters, &out, &in))
	if _, err := p.Output(); err != nil {
		return fmt.Errorf("count bytes of ways: %w", err)
	}
	return nil
}

// ports are those of all ways on the access links.
func (b *Bed) ports() []uint16 {
	ports := []uint16{portTCP}
	for _, w := range append(b.Tandem(), b.Plain()) {
		ports = append(ports, w.port)
	}
	for i := range uint16(mostPeers) {
		ports = append(ports, portPeers+i)
	}
	return ports
}

func counterName(port uint16, link, direction string) string {
	return fmt.Sprintf("%s_%d_%s", link, port, direction)
}

// Meter tells which links ways use. Ways over one link alone, which share a
// port, are not counted: they use that.
type Meter struct {
	bed    *Bed
	before map[string]uint64
}

// Meter begins to count, for all ways.
func (b *Bed) Meter(ctx context.Context) (*Meter, error) {
	before, err := b.counters(ctx)
	return &Meter{b, before}, err
}

// counters reads all counters by name.
func (b *Bed) counters(ctx context.Context) (map[string]uint64, error) {
	text, err := b.Edge.Command(ctx, "nft", "-j", "list", "counters", "table", "inet", "ways").Output()
	if err != nil {
		return nil, fmt.Errorf("read bytes of ways: %w", err)
	}
	var list struct {
		Objects []struct {
			Counter struct {
				Name  string
				Bytes uint64
			}
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read bytes of ways: %w", err)
	}
	all := map[string]uint64{}
	for _, o := range list.Objects {
		all[o.Counter.Name] = o.Counter.Bytes
	}
	return all, nil
}

// Carried is what a way has sent and received on each access link.
type Carried struct {
	// Links are their names, Up and Down the bytes of IP packets in the
	// direction of the aggregator and of the edge.
	Links    []string
	Up, Down []uint64
}

// Read tells what a way has carried since the beginning.
func (m *Meter) Read(ctx context.Context, w Way) (Carried, error) {
	c := Carried{Links: m.bed.site.access}
	now, err := m.bed.counters(ctx)
	if err != nil {
		return c, err
	}
	for _, link := range c.Links {
		since := func(direction string) uint64 {
			name := counterName(w.port, link, direction)
			if w.link != "" && w.link != link {
				return 0
			}
			return now[name] - m.before[name]
		}
		c.Up, c.Down = append(c.Up, since("up")), append(c.Down, since("down"))
	}
	return c, nil
}

// Add adds what was carried at another time.
func (c *Carried) Add(other Carried) {
	if c.Links == nil {
		*c = Carried{other.Links, slices.Clone(other.Up), slices.Clone(other.Down)}
		return
	}
	for i := range c.Links {
		c.Up[i] += other.Up[i]
		c.Down[i] += other.Down[i]
	}
}

// Share is the share of a link in all bytes, from 0 to 1.
func (c Carried) Share(link int) float64 {
	total := uint64(0)
	for i := range c.Links {
		total += c.Up[i] + c.Down[i]
	}
	if total == 0 {
		return 0
	}
	return float64(c.Up[link]+c.Down[link]) / float64(total)
}

// String is such as "wifi 60 %, cell 40 %".
func (c Carried) String() string {
	var parts []string
	for i, name := range c.Links {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", name, 100*c.Share(i)))
	}
	return strings.Join(parts, ", ")
}

// Rates are the capacities of the access links in bit/s, up and down; 0 is
// unlimited.
func (b *Bed) Rates() (up, down []uint64) {
	for _, name := range b.site.access {
		forth, back := b.Links[name].Conditions()
		up, down = append(up, forth.Rate), append(down, back.Rate)
	}
	return up, down
}
