// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"
)

func TestPlaceOfSyntaxErrors(t *testing.T) {
	filler := strings.Repeat("# nothing\n", 100)
	for _, c := range []struct {
		name, content string
		line, column  int
	}{
		{"first line", "a: b: c\n", 1, 1},
		{"indentation", filler + "log:\n  level: info\n format: text\n" + filler, 103, 2},
		{"tab", filler + "log:\n\tlevel: info\n" + filler, 102, 2},
		{"list that is not closed", filler + "workers: [1,\n" + "log: {level: info}\n", 101, 1},
		{"quote that is not closed", filler + "name: \"a\n" + filler, 101, 1},
		{"anchor that there is not", filler + "log: *there\n" + filler, 101, 1},
		{"second document", "log: {level: info}\n---\n" + filler + "a: 'b' c\n", 103, 1},
		{"control character", filler + "name: ä\x01b\n" + filler, 101, 8},
		{"not UTF-8", filler + "name: \xff\n" + filler, 101, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("FILE", []byte(c.content))
			var all Errors
			if !errors.As(err, &all) || len(all) != 1 {
				t.Fatalf("error %v, want one mistake", err)
			}
			if p := all[0]; p.Line != c.line || p.Column != c.column {
				t.Errorf("%v, want line %d, column %d", p, c.line, c.column)
			}
		})
	}
}
