// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
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
