// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
)

// stillAfter is for how long nothing has to come of a transfer until it is looked
// at: longer than a link is away.
const stillAfter = 8 * time.Second

// mostLooks bounds for how many that is done.
const mostLooks = 5

// look tells of a connection that stands still what the home gateway knows of it
// and what the kernels do, once it has stood still again for a while.
func (w *world) look(f *failure) string {
	w.tally.mu.Lock()
	w.tally.looks++
	enough := w.tally.looks > mostLooks
	w.tally.mu.Unlock()
	if enough {
		return ""
	}
	var out strings.Builder
	marks := []string{f.local}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := w.home.client.Connections(ctx, admin.Filter{}, func(c *admin.Connection) error {
		if c.Client.Address.String() == f.local && c.Server != nil {
			marks = append(marks, strings.TrimLeft(c.Server.Token.String(), "0"))
			fmt.Fprintf(&out, "home: %s, %d bytes up, %d down, token %s\n", c.Phase, c.Up, c.Down, c.Server.Token)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(&out, "home:", err)
	}
	paths, err := w.home.client.Paths(ctx)
	if err != nil {
		fmt.Fprintln(&out, "home:", err)
	}
	for _, p := range paths.Connections {
		if len(marks) > 1 && strings.HasSuffix(p.Token.String(), marks[1]) {
			text, _ := json.Marshal(p)
			fmt.Fprintf(&out, "home: %s\n", text)
		}
	}
	for range 2 {
		for _, h := range []*lab.Host{w.CPE, w.Aggregator} {
			marks = w.sockets(ctx, &out, h, marks)
		}
		time.Sleep(time.Second)
	}
	return out.String()
}

var (
	tokens = regexp.MustCompile(`token:([0-9a-f]+)\(id:[0-9]+\)/([0-9a-f]+)`)
)

// sockets writes those of a host that have one of the marks, and adds the tokens
// of both ends.
func (w *world) sockets(ctx context.Context, out *strings.Builder, h *lab.Host, marks []string) []string {
	for _, kind := range []string{"-tniOmoe", "-MniOme"} {
		list, err := h.Command(ctx, "ss", kind).Output()
		if err != nil {
			fmt.Fprintln(out, "ss:", err)
			return marks
		}
		for line := range strings.Lines(string(list)) {
			for _, m := range marks {
				if strings.Contains(line, m) {
					fmt.Fprintf(out, "%s: %s", h.Name(), line)
					if found := tokens.FindStringSubmatch(line); found != nil {
						marks = append(marks, found[1], found[2])
					}
					break
				}
			}
		}
	}
	return marks
}
