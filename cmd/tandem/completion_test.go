// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
)

// completed is what a shell offers for the last word of a command line.
func (l *local) completed(args ...string) (words []string) {
	l.t.Helper()
	out, err := l.command(append([]string{"__complete"}, args...)...).Output()
	if err != nil {
		l.t.Fatalf("%q: %v", args, err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, ":") {
			break // what the shell is to do besides
		}
		word, _, _ := strings.Cut(line, "\t")           // before its description
		if strings.HasPrefix(word, args[len(args)-1]) { // the shell looks at that
			words = append(words, word)
		}
	}
	return words
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	l.tunnel(l.address("phones"), "ada", mptcp.ModePrefer, echoServer(t))
	c := l.connections()[0]
	token := []string{c.Client.Token.String()}
	if !c.Client.MPTCP {
		token = nil
	}
	for line, want := range map[string][]string{
		"connections --sort ":                  orderNames,
		"subscribers --sort ":                  subscriberOrderNames,
		"connections --socket SOCKET --user ":  {"ada"},
		"connections --socket SOCKET --token ": token,
		"set --socket SOCKET --listener ":      {"phones"},
		"kick --socket SOCKET ":                {connectionID(&c)},
		"set --socket SOCKET --id ":            {connectionID(&c)},
		"set --socket SOCKET ":                 token,
		"set --all sched":                      {"scheduler="},
		"set --all scheduler=s":                {"scheduler=smallest-delay", "scheduler=server"},
		"set --all --clear sch":                {"scheduler"},
		"log-level w":                          {"warn"},
		"lab up two":                           {"two-path"},
		"bench run options-we":                 {"options-weighted"},
		"check ":                               {"yaml", "yml"}, // files with these ends
		"doctor --config ":                     {"yaml", "yml"},
		"version ":                             nil,
		"kick --socket /nonexistent ":          nil,
		"explain --interface l":                {"lo"},
	} {
		args := strings.Split(strings.ReplaceAll(line, "SOCKET", l.socket), " ")
		if got := l.completed(args...); !slices.Equal(got, want) {
			t.Errorf("%q is completed with %q, want %q", line, got, want)
		}
	}
}
