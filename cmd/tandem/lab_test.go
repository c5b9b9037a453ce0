// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	labcapture "github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/trace/packet"
)

// patience bounds what ought to happen soon.
const patience = 30 * time.Second

// countLogged counts the lines of the log that hold all of the words.
func countLogged(tandem *apps.Tandem, words ...string) int {
	n := 0
	for line := range strings.Lines(tandem.Log.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// reload gives tandem another configuration and waits until it is in force.
func reload(t *testing.T, tandem *apps.Tandem, config string) {
	t.Helper()
	const message = "configuration reloaded"
	before := countLogged(tandem, message)
	if err := tandem.Write(complete(config)); err != nil {
		t.Fatal(err)
	}
	if err := tandem.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, 30*time.Second, message, func() bool { return countLogged(tandem, message) > before })
}

// nft runs a script of nft(8) on a host.
func nft(t *testing.T, h *lab.Host, script string) {
	t.Helper()
	p := h.Command(context.Background(), "nft", "-f", "-")
	p.Stdin = strings.NewReader(script)
	if _, err := p.Output(); err != nil {
		t.Fatal(err)
	}
}

func needEBPF(t *testing.T, tandem *apps.Tandem) {
	t.Helper()
	for line := range strings.Lines(tandem.Banner.String()) {
		if what, found := strings.CutPrefix(strings.TrimSpace(line), "eBPF"); found && strings.TrimSpace(what) != "yes" {
			t.Skip(line)
		}
	}
}

// awaitSegment waits for a segment in a capture.
func awaitSegment(t *testing.T, c *labcapture.Capture, what string, is func(packet.Segment) bool) packet.Segment {
	t.Helper()
	var found packet.Segment
	labtest.Await(t, 30*time.Second, what, func() bool {
		segments, err := c.Segments()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segments {
			if is(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}
