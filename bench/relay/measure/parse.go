// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// stat is what is of interest in /proc/PID/stat, see proc(5).
type stat struct {
	state byte
	pgrp  int
	// waited is the CPU time of children that have ended and were waited for.
	waited time.Duration
}

// Indices of fields after the name of the program, which ends with the last
// parenthesis: field 3 of proc(5) is the first.
const (
	fieldState  = 0
	fieldPgrp   = 2
	fieldCutime = 13
	fieldCstime = 14
)

var (
	errShort   = errors.New("too few fields")
	errNoSize  = errors.New("no line")
	errNoClose = errors.New("no name in parentheses")
)

func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errNoClose
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) <= fieldCstime {
		return stat{}, errShort
	}
	s := stat{state: fields[fieldState][0]}
	var err error
	if s.pgrp, err = strconv.Atoi(string(fields[fieldPgrp])); err != nil {
		return stat{}, fmt.Errorf("process group: %w", err)
	}
	for _, field := range fields[fieldCutime : fieldCstime+1] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("CPU time: %w", err)
		}
		s.waited += time.Duration(ticks) * tick
	}
	return s, nil
}

// parseRollup reads a size in bytes from smaps_rollup.
func parseRollup(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		if !ok {
			continue
		}
		kb, ok := bytes.CutSuffix(bytes.TrimSpace(rest), []byte(" kB"))
		if !ok {
			return 0, fmt.Errorf("unit of %q", line)
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(kb)), 10, 64)
		if err != nil {
			return 0, err
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("%w %s", errNoSize, key)
}
