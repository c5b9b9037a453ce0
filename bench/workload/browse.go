// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Browse loads pages one after the other, each on fresh connections, as a
// browser with HTTP/1.1 does: each connection carries one object at a time, and
// more are opened while objects wait. Latency is the load time of a page, from
// the beginning to the last byte of its last object.
type Browse struct {
	Pages []Page
	// Connections at once; 0 is 6, as browsers have for a site.
	Connections int
	// Serve is what the server takes for an object.
	Serve time.Duration
	// Patience with each object; 0 is [Patience].
	Patience time.Duration
}

// requestSize is that of a browser for an object, in bytes.
const requestSize = 400

// String says what the load is.
func (w Browse) String() string {
	objects, bytes := 0, int64(0)
	for _, p := range w.Pages {
		objects += len(p.Objects)
		bytes += p.Bytes()
	}
	return fmt.Sprintf("%d pages of %d objects and %.2g MB on average, %d connections at once", len(w.Pages),
		objects/max(len(w.Pages), 1), float64(bytes)/1e6/float64(max(len(w.Pages), 1)), w.connections())
}

func (w Browse) connections() int {
	if w.Connections == 0 {
		return 6
	}
	return w.Connections
}

// Run runs the workload.
func (w Browse) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if w.Patience == 0 {
		w.Patience = Patience
	}
	r := NewResult()
	start := time.Now()
	for _, p := range w.Pages {
		if err := p.check(); err != nil {
			return nil, err
		}
		began := time.Since(start)
		err := w.load(ctx, dial, p)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.fail(err)
			continue
		}
		r.add(began, time.Since(start)-began, requestSize*int64(len(p.Objects)), p.Bytes())
	}
	return r, nil
}

// visit is the loading of a page.
type visit struct {
	*Browse
	page Page
	dial Dialer

	mu      sync.Mutex
	changed *sync.Cond
	waiting []int // objects, in the order of their place in the page
	known   []bool
	left    int // objects that have not arrived
	idle    int // connections without an object
	open    int // connections, also those under way
	err     error
	loading sync.WaitGroup
}

// load loads a page.
func (w *Browse) load(ctx context.Context, dial Dialer, p Page) error {
	v := &visit{Browse: w, page: p, dial: dial, known: make([]bool, len(p.Objects)), left: len(p.Objects)}
	v.changed = sync.NewCond(&v.mu)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { v.fail(ctx.Err()) })()
	v.mu.Lock()
	v.learn(ctx, 0)
	for v.left > 0 && v.err == nil {
		v.changed.Wait()
	}
	err := v.err
	v.mu.Unlock()
	cancel()
	v.loading.Wait()
	return err
}

func (v *visit) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left > 0 && v.err == nil {
		v.err = err
	}
	v.changed.Broadcast()
}

// learn queues an object and opens a connection if none is free. The caller
// holds mu.
func (v *visit) learn(ctx context.Context, object int) {
	if v.known[object] {
		return
	}
	v.known[object] = true
	at := len(v.waiting)
	for at > 0 && v.waiting[at-1] > object {
		at--
	}
	v.waiting = append(v.waiting[:at], append([]int{object}, v.waiting[at:]...)...)
	if len(v.waiting) > v.idle && v.open < v.connections() {
		v.open++
		v.idle++ // it will take one
		v.loading.Go(func() {
			if err := v.carry(ctx); err != nil {
				v.fail(err)
			}
		})
	}
	v.changed.Broadcast()
}

// next waits for an object that is to be loaded; none is left if ok is false.
func (v *visit) next() (object int, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.waiting) == 0 {
		if v.left == 0 || v.err != nil {
			return 0, false
		}
		v.changed.Wait()
	}
	if v.err != nil {
		return 0, false
	}
	object, v.waiting = v.waiting[0], v.waiting[1:]
	v.idle--
	return object, true
}

// arrived learns the objects that a share of another makes known.
func (v *visit) arrived(ctx context.Context, object int, bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := v.page.Objects[object].Size
	if bytes == size {
		v.left--
		v.idle++
	}
	for i, o := range v.page.Objects {
		if o.Of == object && float64(bytes) >= o.Early*float64(size) {
			v.learn(ctx, i)
		}
	}
	v.changed.Broadcast()
}

// carry loads objects over a connection until all are there.
func (v *visit) carry(ctx context.Context) error {
	c, err := dialWithin(ctx, v.dial, v.Patience)
	if err != nil {
		return err
	}
	// A page has no more objects than this.
	s := newSession(c, v.Patience, len(v.page.Objects))
	defer context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })()
	s.begin(time.Now())
	defer s.wait()
	defer s.end()
	for {
		object, ok := v.next()
		if !ok {
			return nil
		}
		a := action{
			ask:      ask{kind: exchange, request: requestSize, answer: uint64(v.page.Objects[object].Size), pause: v.Serve},
			done:     make(chan struct{}),
			progress: func(bytes int64) { v.arrived(ctx, object, bytes) },
		}
		s.do(&a)
		<-a.done
		if a.err != nil {
			return fmt.Errorf("object %d: %w", object, a.err)
		}
	}
}
