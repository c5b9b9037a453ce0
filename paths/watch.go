// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"iter"
	"net/netip"
	"time"
)

// NoticeKind is what a Notice tells.
type NoticeKind string

// The kinds.
const (
	NoticeOpened    NoticeKind = "opened"    // a subflow, the first one included
	NoticeFailed    NoticeKind = "failed"    // a subflow could not be opened
	NoticeClosed    NoticeKind = "closed"    // a subflow
	NoticePriority  NoticeKind = "priority"  // the peer made a subflow a backup, or no backup
	NoticeAnnounced NoticeKind = "announced" // the peer announced an address
	NoticeRemoved   NoticeKind = "removed"   // the peer withdrew an address
	NoticeExpired   NoticeKind = "expired"   // a connection was without subflows for too long
)

// Notice is something that happened to a connection.
type Notice struct {
	Time    time.Time
	Kind    NoticeKind
	Token   uint32
	Subflow Subflow        // where it is about one
	Remote  netip.AddrPort // for NoticeAnnounced
	Cause   Cause          // for NoticeExpired: how the last subflow ended
	Lost    uint64         // notices that were not taken fast enough, before this one
}

// noticeBuffer is how many notices wait for who watches.
const noticeBuffer = 1024

type watcher struct {
	notices chan Notice
	lost    uint64
}

// Watch yields what happens, of all connections that the engine hears of, until
// ctx ends or the engine does.
func (e *Engine) Watch(ctx context.Context) iter.Seq[Notice] {
	return func(yield func(Notice) bool) {
		w := &watcher{notices: make(chan Notice, noticeBuffer)}
		if !e.ask(func() { e.watchers[w] = struct{}{} }) {
			return
		}
		defer e.do(func() { delete(e.watchers, w) }, coalesce)
		for {
			select {
			case n, ok := <-w.notices:
				if !ok || !yield(n) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// notice tells of a subflow.
func (e *Engine) notice(kind NoticeKind, token uint32, s *Subflow, now time.Time) {
	if len(e.watchers) > 0 {
		e.notify(Notice{Time: now, Kind: kind, Token: token, Subflow: *s})
	}
}

func (e *Engine) notify(n Notice) {
	for w := range e.watchers {
		n.Lost = w.lost
		select {
		case w.notices <- n:
			w.lost = 0
		default:
			w.lost++
		}
	}
}
