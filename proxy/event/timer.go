// SPDX-License-Identifier: Apache-2.0

package event

import (
	"container/heap"
	"time"
)

// Timer calls its function on the loop once its time has come. The zero value
// with Func set is ready to use. Moving an armed timer is cheap, but owners
// with a busy deadline (idle time-outs) do better to note the time of their
// last activity, let the timer fire, and arm it again for the rest.
type Timer struct {
	Func func()

	when  time.Duration // since the loop was made: a third of a time
	index int           // position in the heap + 1; 0 = not armed
}

// Arm sets t to fire at when, replacing an earlier setting.
func (l *Loop) Arm(t *Timer, when time.Time) {
	t.when = when.Sub(l.made)
	if t.index > 0 {
		heap.Fix(&l.timers, t.index-1)
		return
	}
	heap.Push(&l.timers, t)
}

// Disarm takes t back. It does nothing when t is not armed.
func (l *Loop) Disarm(t *Timer) {
	if t.index > 0 {
		heap.Remove(&l.timers, t.index-1)
	}
}

func (l *Loop) expire() {
	for len(l.timers) > 0 && l.timers[0].when <= l.Age() {
		t := heap.Pop(&l.timers).(*Timer)
		t.Func()
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	*h = append(*h, t)
	t.index = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}
