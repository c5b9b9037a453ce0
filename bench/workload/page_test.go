// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

func TestPagesAreOfTheWeb(t *testing.T) {
	objects, bytes := 0, int64(0)
	const n = 200
	for i, p := range NewPages(7, n) {
		if err := p.check(); err != nil {
			t.Fatalf("page %d: %v", i, err)
		}
		objects += len(p.Objects)
		bytes += p.Bytes()
	}
	if mean := objects / n; mean < 40 || mean > 90 {
		t.Errorf("pages have %d objects on average", mean)
	}
	if mean := bytes / n; mean < 1e6 || mean > 3e6 {
		t.Errorf("pages have %d bytes on average", mean)
	}
}

// TestBrowseKeepsToItsConnections loads a page of three generations.
func TestBrowseKeepsToItsConnections(t *testing.T) {
	dial := startServer(t)
	var opened, open, most atomic.Int64
	counting := func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err // the page may have arrived meanwhile
		}
		opened.Add(1)
		now := open.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		return &counted{c, &open}, nil
	}
	p := Page{Objects: []Object{{Size: 1000, Of: -1}}}
	for range 20 {
		p.Objects = append(p.Objects, Object{Size: 1000, Of: 0, Early: 0.5})
	}
	for i := range 20 {
		p.Objects = append(p.Objects, Object{Size: 1000, Of: i + 1, Early: 1})
	}
	for _, tt := range []struct {
		pages       []Page
		connections int
	}{
		{[]Page{p, p}, 4},
		// A chain needs no more than one.
		{[]Page{{Objects: []Object{{Size: 1, Of: -1}, {Size: 1, Early: 1}, {Size: 1, Of: 1, Early: 1}}}}, 1},
	} {
		opened.Store(0)
		most.Store(0)
		r, err := Browse{Pages: tt.pages, Connections: 4}.Run(t.Context(), counting)
		if err != nil || r.Done != len(tt.pages) {
			t.Fatalf("%d pages, %v %s", r.Done, err, r.Error)
		}
		if int(most.Load()) > tt.connections || int(opened.Load()) > tt.connections*len(tt.pages) {
			t.Errorf("%d connections, %d at once, want %d for each page", opened.Load(), most.Load(), tt.connections)
		}
		if open.Load() != 0 {
			t.Errorf("%d connections are left open", open.Load())
		}
	}
}

// counted counts itself until it is closed.
type counted struct {
	net.Conn
	open *atomic.Int64
}

func (c *counted) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}
