// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseYAML returns the first document of some YAML, nil if there is none, and
// the second.
func parseYAML(r io.Reader) (first, second *yaml.Node, err error) {
	documents := yaml.NewDecoder(r)
	for {
		var n yaml.Node
		switch err := documents.Decode(&n); {
		case errors.Is(err, io.EOF):
			return first, second, nil
		case err != nil:
			return nil, nil, err
		case first == nil:
			first = &n
		case second == nil:
			second = &n
		}
	}
}

// lineReader hands out one line at a time and counts them.
type lineReader struct {
	lines [][]byte
	next  int
	rest  []byte
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.next == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.next]
		r.next++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// nearLines is how many lines are tried one by one, before the search is by
// halves: a list or a text that goes over several lines has beginnings that are
// not read without an error, though there is none.
const nearLines = 20

// syntaxError turns an error of the YAML parser into a problem. The parser tells
// the line where what it was reading began, or none at all. The line that it
// stumbles over is the one after the longest beginning of the file that it
// reads without an error; it is near the last one that it has asked for, unless
// something is open until the end.
func syntaxError(file string, data []byte, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Wrong: parserPrefix.ReplaceAllString(err.Error(), ""), Expected: "want YAML"}
	if strings.Contains(p.Wrong, "cannot start any token") {
		p.Expected = "want spaces instead of tabs, and quotes around text that begins with a sign such as @ or %"
	}
	if at := noText(data); at >= 0 && noTextError.MatchString(p.Wrong) {
		before := data[:at]
		p.Line, p.Column = bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])+1
		p.Expected = "want text in UTF-8"
		return p
	}
	r := &lineReader{lines: bytes.SplitAfter(data, []byte("\n"))}
	if _, _, err := parseYAML(r); err == nil {
		return p
	}
	reads := func(lines int) bool {
		_, _, err := parseYAML(&lineReader{lines: r.lines[:lines]})
		return err == nil
	}
	good, bad := 0, r.next // numbers of lines that are read without an error, and with one
	for n := bad - 1; n > bad-nearLines && n > 0; n-- {
		if reads(n) {
			good = n
			break
		}
		bad = n
	}
	for bad-good > 1 {
		if n := (good + bad) / 2; reads(n) {
			good = n
		} else {
			bad = n
		}
	}
	line := r.lines[good]
	p.Line, p.Column = good+1, len(line)-len(bytes.TrimLeft(line, " \t"))+1
	return p
}

// noTextError is what the parser says of bytes that are no text.
var noTextError = regexp.MustCompile(`UTF-8|control characters`)

// noText finds the first byte that is not UTF-8, or a control character; -1 if
// there is none.
func noText(data []byte) int {
	for at := 0; at < len(data); {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r) {
			return at
		}
		at += n
	}
	return -1
}

var parserPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)
