// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual has groff set the pages, and looks for every command, flag and
// paragraph in them.
func TestManual(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is not installed: Debian package groff-base")
	}
	t.Parallel()
	root, dir := rootCommand(), t.TempDir()
	root.InitDefaultCompletionCmd("manual")
	if err := writeManual(root, dir); err != nil {
		t.Fatal(err)
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		set := exec.Command("groff", "-man", "-Tascii", "-ww", "-rLL=500n", "-rHY=0", "-P-cbou", filepath.Join(dir, pageName(c)+".8"))
		var complaints bytes.Buffer
		set.Stderr = &complaints
		text, err := set.Output()
		if err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v: %s", c.CommandPath(), err, &complaints)
		}
		page := strings.Join(strings.Fields(string(text)), " ")
		want := []string{strings.Join(strings.Fields(c.Short), " ")}
		for paragraph := range strings.SplitSeq(c.Long, "\n\n") {
			want = append(want, strings.Join(strings.Fields(paragraph), " "))
		}
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			value, _ := pflag.UnquoteUsage(f)
			want = append(want, strings.TrimSpace("--"+f.Name+" "+value))
		})
		for line := range strings.Lines(c.Example) {
			want = append(want, strings.TrimSpace(line))
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				want = append(want, pageName(sub)+"(8) "+sub.Short)
				check(sub)
			}
		}
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: %q is not on the page:\n%s", c.CommandPath(), w, text)
			}
		}
		if c.Short == "" {
			t.Errorf("%s says nothing of itself", c.CommandPath())
		}
	}
	check(root)
}
