// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// barWidth of the progress bar in characters.
const barWidth = 24

// progress tells how far a run of experiments is. It may be used by several
// goroutines at once.
type progress struct {
	w        io.Writer
	terminal bool // one line that is written over, with a bar
	expected []time.Duration
	ids      []string

	mu      sync.Mutex
	at      int // index of the experiment that runs
	began   time.Time
	share   float64 // of the experiment that is over
	factor  float64 // how much longer than expected the past ones took
	spent   time.Duration
	promise time.Duration
}

// begin begins with an experiment.
func (p *progress) begin(index int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.at, p.began, p.share = index, time.Now(), 0
	p.mu.Unlock()
	p.step(0, 0, "begins")
}

// end ends it.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent += time.Since(p.began)
	p.promise += p.expected[p.at]
	if p.promise > 0 {
		p.factor = float64(p.spent) / float64(p.promise)
	}
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) step(done, total int, format string, args ...any) {
	if p == nil || p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if total > 0 {
		p.share = float64(done) / float64(total)
	}
	text := fmt.Sprintf(format, args...)
	if total > 0 {
		text = fmt.Sprintf("%d/%d %s", done, total, text)
	}
	left := p.left().Round(time.Second)
	if !p.terminal {
		fmt.Fprintf(p.w, "[%d/%d, %v left] %s: %s\n", p.at+1, len(p.ids), left, p.ids[p.at], text)
		return
	}
	filled := int(p.whole() * barWidth)
	line := fmt.Sprintf("[%s%s] %v left, %s: %s", strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled), left, p.ids[p.at], text)
	// A line that is longer than the terminal could not be written over.
	if r := []rune(line); len(r) > 100 {
		line = string(r[:99]) + "…"
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

// left is how much longer the whole run takes, as far as one can tell.
func (p *progress) left() time.Duration {
	factor := p.factor
	if factor == 0 {
		factor = 1
	}
	elapsed := time.Since(p.began)
	current := time.Duration(float64(p.expected[p.at])*factor) - elapsed
	if p.share > 0 {
		current = time.Duration(float64(elapsed) * (1 - p.share) / p.share)
	}
	sum := max(current, 0)
	for _, d := range p.expected[p.at+1:] {
		sum += time.Duration(float64(d) * factor)
	}
	return sum
}

// whole is the share of the run that is over.
func (p *progress) whole() float64 {
	over := p.spent + time.Since(p.began)
	if all := over + p.left(); all > 0 {
		return float64(over) / float64(all)
	}
	return 0
}
