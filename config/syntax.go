// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML returns the first document of some YAML, nil if there is none, and
// the second.
func parseYAML(data []byte) (first, second *yaml.Node, err error) {
	documents := yaml.NewDecoder(bytes.NewReader(data))
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

// maxSearch is how many lines a file may have for the place of a syntax error to
// be searched.
const maxSearch = 1000

// syntaxError turns an error of the YAML parser into a problem. The parser tells
// the line where what it was reading began, or none at all; the line that it
// stumbles over is the one after the longest beginning of the file that it
// reads without an error.
func syntaxError(file string, data []byte, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Wrong: parserPrefix.ReplaceAllString(err.Error(), ""), Expected: "want YAML"}
	if strings.Contains(p.Wrong, "cannot start any token") {
		p.Expected = "want spaces instead of tabs, and quotes around text that begins with a sign such as @ or %"
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines) > maxSearch {
		return p
	}
	end := len(data)
	for i := len(lines) - 1; i >= 0; i-- {
		end -= len(lines[i])
		if _, _, err := parseYAML(data[:end]); err == nil {
			p.Line = i + 1
			p.Column = len(lines[i]) - len(bytes.TrimLeft(lines[i], " \t")) + 1
			break
		}
	}
	return p
}

var parserPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)
