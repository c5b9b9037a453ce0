// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mode is how the next path is chosen. Its value is that on the wire.
type Mode uint8

// The modes.
const (
	ModeDefault       Mode = iota // the kernel's own scheduler
	ModePrimary                   // the first path; others only when it is lost
	ModeSmallestDelay             // the path with the smallest smoothed RTT
	ModeRoundRobin                // the same number of bytes on each path
	ModeServer                    // answers on the path last heard from
	ModeOverflow                  // the next path only while the one before is full
	ModeRedundant                 // each byte on every path; needs a Tandem at the other end
	ModeAuto                      // never slower than the best path alone

	modes // those above are written by number

	// ModeWeighted shares bytes by weight, in the order of the paths.
	ModeWeighted Mode = 0x80
)

var modeNames = [modes]string{
	"default", "primary", "smallest-delay", "round-robin", "server", "overflow", "redundant", "auto",
}

// atsss are the steering modes of 3GPP ATSSS (TS 23.501 section 5.32.8), by
// the name of ours that does the same.
var atsss = map[string]string{
	"active-standby": "primary",
	"load-balancing": "round-robin",
	"priority-based": "overflow",
}

// ScheduleNames are the schedulers that need no weights.
func ScheduleNames() []string { return slices.Clone(modeNames[:]) }

func (m Mode) String() string {
	switch {
	case m < modes:
		return modeNames[m]
	case m == ModeWeighted:
		return "weighted"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// MaxWeight is the greatest weight of a path.
const MaxWeight = 100

// Weights are those of the paths, in their order; 0 is no path.
type Weights [3]uint8

// Schedule is a value of Scheduler.
type Schedule struct {
	Mode    Mode
	Weights Weights // of ModeWeighted: two or three, from 1 to MaxWeight
}

// Value is the schedule on the wire. It may be out of range: see Option.Check.
func (s Schedule) Value() Value {
	v := Value(s.Mode) << 16
	if s.Mode == ModeWeighted {
		for i, w := range s.Weights {
			v |= Value(min(w, weightMask)) << weightShift(i)
		}
	}
	return v
}

// Schedule is what a value of Scheduler means.
func (v Value) Schedule() Schedule {
	if Mode(v>>16)&ModeWeighted == 0 {
		return Schedule{Mode: Mode(v >> 16)}
	}
	s := Schedule{Mode: ModeWeighted}
	for i := range s.Weights {
		s.Weights[i] = uint8(v >> weightShift(i) & weightMask)
	}
	return s
}

const weightMask = 1<<7 - 1

func weightShift(i int) int { return 14 - 7*i }

var scheduler = descriptor{
	name:    "scheduler",
	takes:   "default, primary, smallest-delay, round-robin, weighted:W1,W2[,W3], server, overflow, redundant or auto",
	about:   "which paths carry the next bytes",
	example: "primary",
	parse:   parseSchedule,
	print:   func(v Value) string { return v.Schedule().String() },
	check:   checkSchedule,
}

func checkSchedule(v Value) (Value, error) {
	s := v.Schedule()
	if s.Mode != ModeWeighted {
		if s.Mode >= modes || v != s.Value() {
			return 0, fmt.Errorf("%w: %s", ErrRange, s.Mode)
		}
		return v, nil
	}
	for i, w := range s.Weights {
		if w > MaxWeight || w == 0 && i < 2 {
			return 0, fmt.Errorf("%w: weight %d", ErrRange, w)
		}
	}
	if v != s.Value() {
		return 0, fmt.Errorf("%w: bits that are not used are set", ErrRange)
	}
	return v, nil
}

// String is "weighted:80,20" or the name of the mode.
func (s Schedule) String() string {
	if s.Mode != ModeWeighted {
		return s.Mode.String()
	}
	text := fmt.Sprintf("weighted:%d,%d", s.Weights[0], s.Weights[1])
	if s.Weights[2] != 0 {
		text += "," + strconv.Itoa(int(s.Weights[2]))
	}
	return text
}

var errSchedule = errors.New("no such scheduler")

func parseSchedule(text string) (Value, error) {
	name, weights, weighted := strings.Cut(text, ":")
	if weighted {
		// The split of load-balancing is in percent, which weights can be.
		if name != "weighted" && name != "load-balancing" {
			return 0, errSchedule
		}
		return parseWeights(weights)
	}
	if ours, ok := atsss[name]; ok {
		name = ours
	}
	for m, n := range modeNames {
		if n == name {
			return Schedule{Mode: Mode(m)}.Value(), nil
		}
	}
	return 0, errSchedule
}

func parseWeights(text string) (Value, error) {
	s := Schedule{Mode: ModeWeighted}
	list := strings.Split(text, ",")
	if len(list) < 2 || len(list) > len(s.Weights) {
		return 0, fmt.Errorf("%w: %d weights", ErrRange, len(list))
	}
	for i, t := range list {
		w, err := strconv.ParseUint(t, 10, 8)
		if err != nil || w == 0 || w > MaxWeight {
			return 0, fmt.Errorf("%w: weight %q is not from 1 to %d", ErrRange, t, MaxWeight)
		}
		s.Weights[i] = uint8(w)
	}
	return s.Value(), nil
}
