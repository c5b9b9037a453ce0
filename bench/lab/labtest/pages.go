// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"os"
	"strings"
	"testing"
)

// Blocks are those of a page of the documentation that are marked so, such as
// "sh device", for a test to follow.
func Blocks(t testing.TB, page, mark string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(text), "\n```"+mark+"\n")[1:] {
		block, _, ended := strings.Cut(part, "\n```\n")
		if !ended {
			t.Fatalf("%s: a block does not end", page)
		}
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block %q", page, mark)
	}
	return blocks
}
