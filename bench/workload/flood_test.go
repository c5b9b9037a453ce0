// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func TestFlood(t *testing.T) {
	w := Flood{Size: 8 << 10, For: 100 * time.Millisecond}
	dial := startServer(t)
	r, err := w.Run(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	if r.Done == 0 || r.Failed != 0 || r.Received != int64(r.Done)*w.Size || r.Elapsed != w.For || r.Latency.Count() != int64(r.Done) {
		t.Errorf("%d done, %d failed (%s), %d bytes in %v", r.Done, r.Failed, r.Error, r.Received, r.Elapsed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	w.For = time.Hour
	if _, err := w.Run(ctx, dial); err != context.Canceled {
		t.Errorf("after it was cancelled: %v", err)
	}
}

// TestFloodFails counts one failure where nothing comes, and none of what may
// not be asked for.
func TestFloodFails(t *testing.T) {
	silent := listen(t)
	w := Flood{Size: 100, For: time.Hour, Patience: 50 * time.Millisecond}
	if r, err := w.Run(t.Context(), dialerTo(silent.Addr())); err != nil || r.Failed != 1 || r.Done != 0 {
		t.Errorf("of a silent server: %v %+v", err, r)
	}
	silent.Close()
	if r, err := w.Run(t.Context(), dialerTo(silent.Addr())); err != nil || r.Failed != 1 || !strings.Contains(r.Error, "refused") {
		t.Errorf("without a server: %v %+v", err, r)
	}
	never := func(context.Context) (net.Conn, error) { t.Error("dialled"); return nil, net.ErrClosed }
	if _, err := (Flood{Size: 1, For: time.Second}).Run(t.Context(), never); err == nil {
		t.Error("runs with messages of a byte")
	}
}
