// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"
)

// errNotWatched: kernels before 6.13 do not let programs change what is
// watched of a subflow that exists.
var errNotWatched = errors.New("this kernel watches only subflows that are opened later: needs Linux 6.13")

// Watch is what is to be told about a connection. Subflows are looked at more
// closely only while there is something to watch.
type Watch struct {
	Token uint32
	// RTT is the limit for RTTCrossed, in microseconds; 0 is none.
	RTT time.Duration
	// Bytes is when to tell BytesReached, once: acknowledged by the peer and
	// received from it, since the connection began; 0 is never.
	Bytes uint64
}

// Watch replaces what is watched of some connections, for their subflows that
// exist and those to come. Connections are forgotten when they end; 32,768 can
// be watched at once.
//
// It walks all TCP sockets of the calling thread's network namespace, once:
// give it many connections at a time rather than one by one.
func (e *Events) Watch(connections ...Watch) error {
	for _, w := range connections {
		if err := e.put(w); err != nil {
			return fmt.Errorf("watch connection %08x: %w", w.Token, err)
		}
	}
	sockets, err := e.rearm.Open()
	if err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	refused, err := io.ReadAll(sockets)
	err = errors.Join(err, sockets.Close())
	if err == nil && len(refused) > 0 {
		err = errNotWatched
	}
	if err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	return nil
}

func (e *Events) put(w Watch) error {
	if w.RTT == 0 && w.Bytes == 0 {
		if err := e.objects.Watches.Delete(&w.Token); !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	}
	us := min(max(w.RTT.Microseconds(), 0), 1<<32-1)
	return e.objects.Watches.Put(&w.Token, &eventsWatch{Bytes: w.Bytes, RttUs: uint32(us)})
}
