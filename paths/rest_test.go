// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestNewSubflowsRest: the peer learns that a new subflow is a backup, and a
// little later that it is none.
func TestNewSubflowsRest(t *testing.T) {
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	var mu sync.Mutex
	var heard []Notice
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for n := range w.server.Watch(ctx) {
			mu.Lock()
			heard = append(heard, n)
			mu.Unlock()
		}
	})
	defer watching.Wait()
	defer stop()
	told := func(kind NoticeKind, backup bool) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range heard {
			if n.Kind == kind && n.Subflow.Opened == ByPeer && n.Subflow.Backup == backup {
				return true
			}
		}
		return false
	}

	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	labtest.Await(t, patience, "a subflow that is a backup", func() bool { return told(NoticeOpened, true) })
	labtest.Await(t, patience, "a subflow that is none any more", func() bool { return told(NoticePriority, false) })
	if told(NoticeOpened, false) {
		t.Error("the peer was told that a new subflow carries data at once")
	}
	for _, s := range state(t, w.client, f.clientToken).Subflows {
		if s.Backup {
			t.Errorf("%+v", s)
		}
	}
	f.move(f.client, f.server, 1<<20)
}

// TestPriorityIsToldAgain loses what tells the peer that a new subflow is no backup
// any more, as often as a few times.
func TestPriorityIsToldAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	// MP_PRIO of three bytes, kind 30, subtype 5, without the flag, behind timestamps
	// and the DSS of an ACK with four or with eight bytes of data ACK.
	for _, bit := range []int{(20 + 12 + 8) * 8, (20 + 12 + 12) * 8} {
		nft(t, w.Aggregator, fmt.Sprintf("meta l4proto tcp @th,%d,24 0x1e0350 counter drop", bit))
	}
	dropped := func() (n int) {
		rules, err := w.Aggregator.Command(t.Context(), "nft", "list", "chain", "inet", "t", "input").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(rules, -1) {
			some, _ := strconv.Atoi(string(m[1]))
			n += some
		}
		return n
	}
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	backups := func() (n int) {
		for _, s := range state(t, w.server, f.serverToken).Subflows {
			if s.Backup {
				n++
			}
		}
		return n
	}
	labtest.Await(t, patience, "three that are lost", func() bool { return dropped() >= 3 })
	if backups() == 0 {
		t.Fatal("the peer was told nevertheless")
	}
	noRules(t, w.Aggregator)
	labtest.Await(t, patience, "the peer to know that there is no backup", func() bool { return backups() == 0 })
}
