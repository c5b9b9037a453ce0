// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// meter shows how fast the links of a home carry bytes towards it.
type meter struct {
	links []named
	start time.Time
	last  time.Time
}

type named struct {
	name    string
	link    *lab.Link
	first   uint64 // bytes carried before the download
	carried uint64
}

func newMeter(home *lab.HybridHome) (*meter, error) {
	now := time.Now()
	m := &meter{start: now, last: now, links: []named{{name: "DSL", link: home.DSL.Link}, {name: "LTE", link: home.LTE.Link}}}
	for i := range m.links {
		c, err := m.links[i].link.Counters()
		if err != nil {
			return nil, err
		}
		m.links[i].first, m.links[i].carried = c.BToA, c.BToA
	}
	return m, nil
}

// barRate is what one character of a bar stands for, in bit/s.
const barRate = 1e6

// show prints a line with the rates since the last one, and returns how many
// bytes have come over all links so far.
func (m *meter) show() (carried uint64, err error) {
	now := time.Now()
	seconds := now.Sub(m.last).Seconds()
	line := fmt.Sprintf("%7.1f s", now.Sub(m.start).Seconds())
	sum := 0.0
	for i := range m.links {
		l := &m.links[i]
		c, err := l.link.Counters()
		if err != nil {
			return 0, err
		}
		rate := float64(c.BToA-l.carried) * 8 / seconds
		l.carried = c.BToA
		carried += c.BToA - l.first
		sum += rate
		line += fmt.Sprintf("   %s %5.1f %-22s", l.name, rate/1e6, strings.Repeat("█", int(rate/barRate+0.5)))
	}
	m.last = now
	fmt.Printf("%s sum %5.1f Mbit/s\n", line, sum/1e6)
	return carried, nil
}
