// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Step is a change at a time, written "at 3s: wifi.delay=200ms".
type Step struct {
	At  time.Duration
	Set string
}

// UnmarshalText reads a step.
func (s *Step) UnmarshalText(text []byte) error {
	at, setting, ok := strings.Cut(strings.TrimPrefix(string(text), "at "), ":")
	d, err := time.ParseDuration(strings.TrimSpace(at))
	if !ok || err != nil || d < 0 {
		return fmt.Errorf("want a step such as \"at 3s: wifi.delay=200ms\"")
	}
	s.At, s.Set = d, strings.TrimSpace(setting)
	return nil
}

// ReadTrace turns a trace into steps that set key, such as "wifi.rate": lines
// of seconds,value; a first line that is not made of numbers, and lines that
// begin with #, are passed over.
func ReadTrace(r io.Reader, key string) ([]Step, error) {
	rows := csv.NewReader(r)
	rows.Comment = '#'
	rows.FieldsPerRecord = 2
	rows.TrimLeadingSpace = true
	var steps []Step
	for first := true; ; first = false {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return steps, nil
		}
		if err != nil {
			return nil, fmt.Errorf("trace of %s: %w", key, err)
		}
		seconds, err := strconv.ParseFloat(row[0], 64)
		if err != nil && first {
			continue
		}
		line, column := rows.FieldPos(0)
		if err != nil || !(seconds >= 0 && seconds < 1e6) {
			return nil, fmt.Errorf("trace of %s: line %d, column %d: %q is not a time in seconds", key, line, column, row[0])
		}
		at := time.Duration(seconds * float64(time.Second))
		if len(steps) > 0 && at < steps[len(steps)-1].At {
			return nil, fmt.Errorf("trace of %s: line %d, column %d: time goes back", key, line, column)
		}
		steps = append(steps, Step{At: at, Set: key + "=" + row[1]})
	}
}

// Play makes the changes at their times, counted from now, and returns after
// the last, or when ctx ends.
func (n *Network) Play(ctx context.Context, steps []Step) error {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return int(a.At - b.At) })
	start := time.Now()
	for _, s := range steps {
		timer := time.NewTimer(s.At - time.Since(start))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		if err := n.Set(s.Set); err != nil {
			return fmt.Errorf("at %v: %w", s.At, err)
		}
	}
	return nil
}
