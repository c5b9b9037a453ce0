// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

const (
	// legRetry is how soon a leg that was lost is opened again at first; later
	// twice as long each time, up to maxLegRetry.
	legRetry    = time.Second
	maxLegRetry = 10 * time.Second
	// pathsAgain is how often a stream looks for paths that are new.
	pathsAgain = 5 * time.Second
	// plainFor is how long a converter is asked for nothing redundant after it
	// has said that it does not know that.
	plainFor = time.Hour
)

var (
	errNoPath = errors.New("there is no path for a leg")
	// errUnasked: no leg has carried anything, so that another way may.
	errUnasked = errors.New("not redundant")
	// errOtherInstance: the converter has started again, or been upgraded, while
	// the first legs were under way.
	errOtherInstance = errors.New("the leg has led to another stream of the name")
)

// Path is a way for legs: an interface, an address of this machine, or both.
type Path struct {
	Device string
	Local  netip.Addr
}

func (p Path) String() string {
	if p.Local.IsValid() && p.Device != "" {
		return p.Local.String() + "%" + p.Device
	} else if p.Local.IsValid() {
		return p.Local.String()
	}
	return p.Device
}

// RedundantOptions are those of NewRedundant.
type RedundantOptions struct {
	// Paths are those there are now; each stream has a leg on each of them. It is
	// called by goroutines, time and again while there are streams.
	Paths func() []Path
	// Connect are the options of legs, but for Mode and Local: they use TCP.
	Connect mptcp.ConnectOptions
	Dialer  converter.DialerConfig
	Log     *slog.Logger
}

// Redundant is an upstream that sends everything through the first converter of
// another one on every path at once, as a redundant.Stream. Where that fails
// it is the other upstream.
type Redundant struct {
	upstream Upstream
	hops     map[string]*redundantHop // by the name of the converter
}

// NewRedundant returns an upstream like upstream, which leads through converters.
func NewRedundant(upstream Upstream, converters []*ConvertHop, o RedundantOptions) *Redundant {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Redundant{upstream: upstream, hops: map[string]*redundantHop{}}
	for _, c := range converters {
		for _, addr := range c.addresses {
			r.hops[c.name] = &redundantHop{ConvertHop: c, addr: addr, o: o, dialers: map[Path]*converter.Dialer{}}
		}
	}
	return r
}

// Hops implements Upstream.
func (r *Redundant) Hops(req *Request) []Hop {
	hops := r.upstream.Hops(req)
	for i, h := range hops {
		if through := r.hops[h.Name()]; through != nil {
			if i > 0 {
				break // another way is better
			}
			return append([]Hop{through}, hops...)
		}
	}
	return hops
}

// redundantHop leads through a stream to a converter.
type redundantHop struct {
	*ConvertHop
	addr netip.AddrPort
	o    RedundantOptions

	mu      sync.Mutex
	dialers map[Path]*converter.Dialer // cookies are for the address of a path
	plain   time.Time                  // until when the converter is left alone
	reason  error
}

// Name implements Hop.
func (h *redundantHop) Name() string { return h.ConvertHop.Name() + "/redundant" }

// Options implements Hop: those of the socket pair, which has none.
func (h *redundantHop) Options(*Client, *Request, netip.AddrPort) mptcp.ConnectOptions {
	return mptcp.ConnectOptions{}
}

// Report implements Hop. What a stream does says nothing of connections.
func (h *redundantHop) Report(*Request, mptcp.Status, error) {}

// Converse implements Hop.
func (h *redundantHop) Converse(c *Client, req *Request, target netip.AddrPort) (Conversation, error) {
	h.mu.Lock()
	plain, reason := time.Now().Before(h.plain), h.reason
	h.mu.Unlock()
	if plain {
		return nil, HopError(fmt.Errorf("%s: %w", h.Name(), reason))
	}
	return h.ConvertHop.Converse(c, req, target)
}

// carry implements carrier.
func (h *redundantHop) carry(s *session) (fd int, err error) {
	server := s.worker.server
	stream, err := server.streams.Begin(h.Name())
	if err != nil {
		return -1, err
	}
	if fd, err = s.attach(relay.Server, stream); err != nil {
		stream.Release(err)
		return -1, err
	}
	k := &legKeeper{hop: h, stream: stream, told: make(chan error), left: make(chan Path)}
	server.running.Go(k.run)
	return fd, nil
}

// refused notes that the converter does not know legs.
func (h *redundantHop) refused(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Before(h.plain) {
		return
	}
	h.plain, h.reason = now.Add(plainFor), reason
	h.o.Log.Warn("connections are not redundant: the converter does not offer it; they are ordinary ones",
		"upstream", h.ConvertHop.Name(), "for", plainFor, "err", reason)
}

// dialer is what is remembered of the converter as seen from a path.
func (h *redundantHop) dialer(p Path) *converter.Dialer {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.dialers[p]
	if d == nil {
		if len(h.dialers) >= maxFree {
			clear(h.dialers) // addresses that come and go
		}
		d = converter.NewDialer(h.o.Dialer)
		h.dialers[p] = d
	}
	return d
}
