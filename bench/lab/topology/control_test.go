// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// TestChangesReachLinks makes changes through the control socket and a script.
func TestChangesReachLinks(t *testing.T) {
	f, err := Load("two-path")
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Build("control")
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ln, err := n.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, ln) }()

	for _, setting := range []string{"wifi.delay=200ms", "wifi.back.loss=2%", "wifi.forth.queue=7p"} {
		if err := Send(n.ID(), setting); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
	}
	forth, back := n.Links["wifi"].Conditions()
	if forth.Delay != 200*time.Millisecond || forth.Queue.Packets != 7 || forth.Loss.InGood != 0 || back.Loss.InGood != 0.02 || back.Rate != 20e6 {
		t.Errorf("conditions %+v and %+v", forth, back)
	}
	for _, bad := range []string{"", "wifi", "dsl.delay=1ms", "wifi.delay=1h", "wifi.up=perhaps", "wifi.loss=3"} {
		if Send(n.ID(), bad) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if err := n.Play(ctx, []Step{{2, "cell.rate=3M"}, {1, "cell.rate=2M"}}); err != nil {
		t.Error(err)
	}
	if forth, _ := n.Links["cell"].Conditions(); forth.Rate != 3e6 {
		t.Errorf("after the script the rate is %d", forth.Rate)
	}
	records, err := lab.List()
	if err != nil || !slices.ContainsFunc(records, func(r lab.Record) bool {
		return r.ID == n.ID() && !r.Orphaned && slices.Equal(r.Hosts, []string{"aggregator", "client", "server"})
	}) {
		t.Errorf("listed %+v, %v", records, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if Send(n.ID(), "wifi.delay=1ms") == nil {
		t.Error("a change was taken after the end")
	}
}
