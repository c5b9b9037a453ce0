// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 if the file as a whole is meant
	Path         string // the key, such as listeners[0].timeouts.idle; empty for the whole file
	Wrong        string // what is wrong
	Expected     string // what would be right
}

// String returns "file:line:column: path: what is wrong; what is expected".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Wrong)
	if p.Expected != "" {
		b.WriteString("; " + p.Expected)
	}
	return b.String()
}

// Errors are all the mistakes in a configuration file, in the order of the
// file.
type Errors []Problem

// Error returns one line per mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// inOrder sorts problems by where they are, and drops repetitions.
func inOrder(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(problems)
}
