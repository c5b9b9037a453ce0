// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExamplesInDocs has each piece of configuration in the documentation be one
// that can be used. Those without a listener get one.
func TestExamplesInDocs(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	examples := 0
	for _, file := range append(files, "../README.md", "../deploy/README.md") {
		if filepath.Base(file) == "lab.md" {
			continue // its YAML is that of networks
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatchIndex(text, -1) {
			examples++
			example := string(text[m[2]:m[3]])
			if !strings.HasPrefix(example, "listeners:") && !strings.Contains(example, "\nlisteners:") {
				example += "listeners: [{name: some, type: socks5, listen: [\"127.0.0.1:1080\"]}]\n"
			}
			// The hash of an example is cut short.
			example = strings.ReplaceAll(example, "$argon2id$…", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
			name := fmt.Sprintf("%s:%d", filepath.Base(file), 1+strings.Count(string(text[:m[2]]), "\n"))
			if _, err := Parse(name, []byte(example)); err != nil {
				t.Errorf("%s, whose lines count from there: %v", name, err)
			}
		}
	}
	if examples == 0 {
		t.Error("there are no examples")
	}
}
