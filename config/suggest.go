// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// instead says which key of t may have been meant: one that is written alike,
// or the same one a section further down.
func instead(t reflect.Type, key string) (meant, expected string) {
	if near := nearest(key, keysOf(t)); near != "" {
		return near, fmt.Sprintf("did you mean %s?", near)
	}
	for i := 0; t.Kind() == reflect.Struct && i < t.NumField(); i++ {
		section := t.Field(i).Type
		if section.Kind() == reflect.Pointer {
			section = section.Elem()
		}
		if !isSection(section) || isScalar(section) || keyOf(t.Field(i)) == "" {
			continue
		}
		if slices.Contains(keysOf(section), key) {
			meant = join(keyOf(t.Field(i)), key)
			return meant, fmt.Sprintf("did you mean %s?", meant)
		}
	}
	return "", "want one of " + listOf(keysOf(t))
}

// choose says which of some values may have been meant.
func choose(value string, values []string) string {
	if near := nearest(value, values); near != "" {
		return fmt.Sprintf("did you mean %s? Want %s", near, listOf(values))
	}
	return "want " + listOf(values)
}

// listOf lists words: "a", "a or b", "a, b or c".
func listOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// nearest returns the word that a mistyped one was probably meant to be, or "".
func nearest(typed string, words []string) string {
	best, least := "", max(len(typed)/3, 1)+1
	for _, w := range words {
		if n := distance(normal(typed), normal(w)); n < least {
			best, least = w, n
		}
	}
	if typed == "" {
		return ""
	}
	return best
}

// normal removes what is most often confused.
func normal(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// distance is how many characters have to be added, removed, changed or swapped
// with their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	var d [65][65]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			change := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d[i][j] = min(change, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
