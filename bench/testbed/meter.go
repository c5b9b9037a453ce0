// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"strings"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// Meter tells what the access links carried.
type Meter struct {
	bed    *Bed
	before []lab.Counters
}

// Meter begins to count.
func (b *Bed) Meter() (*Meter, error) {
	m := &Meter{bed: b}
	var err error
	m.before, err = b.counters()
	return m, err
}

func (b *Bed) counters() ([]lab.Counters, error) {
	var all []lab.Counters
	for _, name := range b.site.access {
		c, err := b.Links[name].Counters()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Carried is what links have carried.
type Carried struct {
	// Links are their names, Up and Down the bytes of frames in the direction of
	// the aggregator and of the edge.
	Links    []string
	Up, Down []uint64
}

// Read tells what was carried since the beginning.
func (m *Meter) Read() (Carried, error) {
	c := Carried{Links: m.bed.site.access}
	now, err := m.bed.counters()
	if err != nil {
		return c, err
	}
	for i := range now {
		d := now[i].Sub(m.before[i])
		c.Up = append(c.Up, d.AToB)
		c.Down = append(c.Down, d.BToA)
	}
	return c, nil
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

// Rates are the capacities of the access links in bit/s, up and down, and their
// sums; 0 is unlimited.
func (b *Bed) Rates() (up, down []uint64) {
	for _, name := range b.site.access {
		forth, back := b.Links[name].Conditions()
		up, down = append(up, forth.Rate), append(down, back.Rate)
	}
	return up, down
}
