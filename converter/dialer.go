// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"bytes"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

const (
	// MinKeepAway is how long a client leaves a converter alone that is out of
	// resources or cannot forward.
	MinKeepAway = 30 * time.Second
	// cookieTrust is how long a cookie that was just issued is beyond doubt: a
	// refusal in that time is about the request. Later the converter is asked
	// without the cookie, to see whether it issues another one; that it took
	// the cookie a moment ago says nothing, as its key may just have rotated.
	cookieTrust = time.Second
	// refusedFor is how long TCP options and TLVs that the converter does not
	// support are not asked for again.
	refusedFor = time.Hour
)

// DialerConfig is what there is to say about a converter.
type DialerConfig struct {
	// AllowLoopback lets targets be loopback addresses: for tests.
	AllowLoopback bool
	// KeepAway is how long the converter is left alone after it said that it
	// is out of resources or cannot forward; at least MinKeepAway, which is
	// also the default.
	KeepAway time.Duration
	// Servers is how many servers that speak Multipath TCP themselves are
	// remembered; 0 is DefaultServers.
	Servers int
}

// Dialer is the client of one converter: what it has to remember of it from
// one connection to the next.
type Dialer struct {
	allowLoopback bool
	keepAway      time.Duration
	servers       servers

	mu          sync.Mutex
	cookie      []byte
	issuedAt    time.Time // when cookie was
	unavailable time.Time // until when the converter is left alone
	kinds       []uint8   // TCP options that it refused
	types       []wire.Type
	refused     time.Time // when kinds or types grew last
}

// NewDialer returns a Dialer that has not met its converter yet.
func NewDialer(c DialerConfig) *Dialer {
	return &Dialer{
		allowLoopback: c.AllowLoopback,
		keepAway:      max(c.KeepAway, MinKeepAway),
		servers:       newServers(c.Servers),
	}
}

// Extras are what may be asked for beside a connection. What the converter has
// turned out not to support is left out of later requests.
type Extras struct {
	// Options are TCP options to be offered to the server. One without a value
	// gets one of the converter's own: kind 30 has it try Multipath TCP.
	Options []wire.TCPOption
	// Private are TLVs for private use.
	Private []wire.Private
	// Supported asks what the converter supports.
	Supported bool
	// Choices are options of the connection to ask for. The converter must be
	// a Tandem to understand them.
	Choices options.Set
}

// Connect begins a request for a connection to target. The error wraps
// ErrMalformedTarget, or says what of the extras cannot be sent.
func (d *Dialer) Connect(target netip.AddrPort, extras Extras) (*Exchange, error) {
	if err := checkTarget(target, d.allowLoopback); err != nil {
		return nil, err
	}
	if !extras.Choices.Empty() {
		extras.Private = append(slices.Clone(extras.Private), choicesTLV(extras.Choices, false))
	}
	if err := extras.check(); err != nil {
		return nil, err
	}
	return &Exchange{dialer: d, target: target, extras: extras}, nil
}

// check sees that a request with the extras can be sent, however long the
// cookie is.
func (e *Extras) check() error {
	if len(e.Options) > 0 {
		options, err := wire.AppendTCPOptions(nil, e.Options)
		if err != nil {
			return err
		}
		if len(options) > wire.MaxTCPOptions {
			return errOptionsTooLong
		}
	}
	if len(e.Private) > 0 {
		m := wire.Message{
			Info:    true,
			Connect: connectTo(netip.AddrPortFrom(netip.IPv6Unspecified(), 0), e.Options),
			Cookie:  make([]byte, maxCookie),
			Private: e.Private,
		}
		if _, err := m.AppendTo(nil); err != nil {
			return err
		}
	}
	return nil
}

// Inform begins a request for what the converter supports and nothing else. It
// serves as a probe, and brings a cookie where one is needed.
func (d *Dialer) Inform() *Exchange { return &Exchange{dialer: d} }

// Available reports whether the converter may be asked, having not said
// otherwise within the last 30 seconds or more.
func (d *Dialer) Available(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !now.Before(d.unavailable)
}

// SpeaksMPTCP reports whether server is known to speak Multipath TCP itself,
// so that connections to it need no converter.
func (d *Dialer) SpeaksMPTCP(server netip.AddrPort, now time.Time) bool {
	return d.servers.has(server, now)
}

// Forget takes back that server speaks Multipath TCP: it did not when asked
// without the converter.
func (d *Dialer) Forget(server netip.AddrPort) { d.servers.remove(server) }

// present returns the cookie to show, nil if there is none, and drops from
// extras what was refused. It does not change what extras holds.
func (d *Dialer) present(extras *Extras, now time.Time) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.refused) >= refusedFor {
		d.kinds, d.types = nil, nil
	}
	if d.kinds != nil {
		extras.Options = slices.DeleteFunc(slices.Clone(extras.Options), func(o wire.TCPOption) bool {
			return slices.Contains(d.kinds, o.Kind)
		})
	}
	if d.types != nil {
		extras.Private = slices.DeleteFunc(slices.Clone(extras.Private), func(p wire.Private) bool {
			return slices.Contains(d.types, p.Type)
		})
	}
	return d.cookie
}

// doubts reports whether a refusal may be about cookie rather than about what
// was asked for.
func (d *Dialer) doubts(cookie []byte, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return cookie != nil && (!bytes.Equal(cookie, d.cookie) || now.Sub(d.issuedAt) >= cookieTrust)
}

// issued takes the cookie that the converter sent.
func (d *Dialer) issued(cookie []byte, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cookie, d.issuedAt = bytes.Clone(cookie), now
}

// avoid leaves the converter alone for a while.
func (d *Dialer) avoid(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unavailable = now.Add(d.keepAway)
}

// refuses notes options and TLVs that the converter does not support.
func (d *Dialer) refuses(kinds []uint8, types []wire.Type, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range kinds {
		if !slices.Contains(d.kinds, k) {
			d.kinds = append(d.kinds, k)
		}
	}
	for _, t := range types {
		if !slices.Contains(d.types, t) {
			d.types = append(d.types, t)
		}
	}
	d.refused = now
}
