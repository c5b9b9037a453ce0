// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
)

var (
	// ErrNoSuchHost: the name does not exist or has no addresses. The
	// *net.DNSError that said so is in the chain.
	ErrNoSuchHost = errors.New("no such host")
	// ErrZone: an address with a zone, which names an interface of the asker.
	ErrZone = errors.New("address has a zone")
)

// Family is an address family.
type Family uint8

// The families that may come first.
const (
	IPv6 Family = iota // as RFC 8305 section 4 recommends
	IPv4
)

// DefaultTimeout bounds a lookup unless Config.Timeout does.
const DefaultTimeout = 5 * time.Second

// maxQueries bounds the names that are asked for at a time, each with two sockets:
// they must not take the descriptors of connections. Others wait.
const maxQueries = 512

// Config says how names are resolved. The zero value asks the name servers of
// /etc/resolv.conf and puts IPv6 first.
type Config struct {
	// Servers are asked instead of those of /etc/resolv.conf, in this order,
	// the next one when one does not answer. /etc/hosts is heeded always.
	Servers []netip.AddrPort
	// Prefer is the family of the first address of a result.
	Prefer Family
	// Timeout bounds one lookup, with all its servers; DefaultTimeout if 0.
	Timeout time.Duration
	// Control, when set, is called for every socket to a name server before
	// it connects, for example to set SO_MARK: see net.Dialer.Control.
	Control func(network, address string, c syscall.RawConn) error
}

// Resolver resolves names. It is safe for concurrent use and needs no closing:
// its goroutines end with the lookups.
type Resolver struct {
	servers *servers
	prefer  Family
	timeout time.Duration
	counts  *Counters
	flights singleflight.Group
	slots   chan struct{} // one for each name that is asked for
	cache   cache
}

// New returns a resolver for a configuration, which is copied.
func New(c Config) *Resolver {
	r := &Resolver{servers: newServers(&c), prefer: c.Prefer, timeout: c.Timeout, counts: new(Counters), slots: make(chan struct{}, maxQueries)}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	return r
}

// CountIn has lookups counted in c, which resolvers may share. It is for the
// time before the first Lookup.
func (r *Resolver) CountIn(c *Counters) { r.counts = c }

// Lookup returns the addresses of a host in the order in which to try them:
// families alternate, beginning with the preferred one (RFC 8305 section 4,
// First Address Family Count 1). The text of an address is its own result.
//
// Names with a dot are looked up as they are, others in the search domains of
// /etc/resolv.conf too. Simultaneous lookups of one name share one query, and
// results are kept for a few seconds. The result belongs to the caller.
//
// Errors match ErrNoSuchHost when the name is known not to have addresses, and
// context.DeadlineExceeded when there was no answer in time.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return nil, fmt.Errorf("resolve %q: %w", host, ErrZone)
		}
		return []netip.Addr{ip.Unmap()}, nil
	}
	name := canonical(host)
	r.counts.lookups.Add(1)
	if addrs := r.cache.find(name, time.Now()); addrs != nil {
		r.counts.cached.Add(1)
		return slices.Clone(addrs), nil
	}
	result := r.flights.DoChan(name, func() (any, error) { return r.query(name) })
	select {
	case <-ctx.Done():
		r.counts.failed.Add(1)
		return nil, fmt.Errorf("resolve %q: %w", host, ctx.Err())
	case res := <-result:
		if res.Err != nil {
			r.counts.failure(res.Err)
			return nil, fmt.Errorf("resolve %q: %w", host, res.Err)
		}
		return slices.Clone(res.Val.([]netip.Addr)), nil
	}
}

// canonical makes spellings of one name equal. A dot at the end keeps search
// domains away: those of the proxy mean nothing to its clients.
func canonical(host string) string {
	host = strings.ToLower(host)
	if strings.Contains(host, ".") && !strings.HasSuffix(host, ".") {
		host += "."
	}
	return host
}

// query asks for both families. It is independent of whoever asked first,
// because others wait for it too.
func (r *Resolver) query(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return nil, fmt.Errorf("too many names are asked for: %w", ctx.Err())
	}
	end := func() {
		cancel()
		<-r.slots
	}
	answers := make(chan answer, 2)
	for _, f := range []Family{IPv6, IPv4} {
		go func() {
			addrs, err := r.servers.lookup(ctx, f, name)
			answers <- answer{f, addrs, err}
		}()
	}
	var both [2]answer
	both[0] = <-answers
	if both[0].err == nil {
		// With addresses in hand a slow or broken server for the other
		// family is not waited for, but what it says later is kept.
		patience := time.NewTimer(r.patience(both[0].family))
		defer patience.Stop()
		select {
		case both[1] = <-answers:
		case <-patience.C:
			addrs := interleave(r.prefer, both[:1])
			r.cache.store(name, addrs, time.Now())
			go func() {
				defer end()
				if both[1] = <-answers; both[1].err == nil {
					r.cache.store(name, interleave(r.prefer, both[:]), time.Now())
				}
			}()
			return addrs, nil
		}
	} else {
		both[1] = <-answers
	}
	end()
	addrs := interleave(r.prefer, both[:])
	if len(addrs) == 0 {
		return nil, failure(both[0].err, both[1].err)
	}
	r.cache.store(name, addrs, time.Now())
	return addrs, nil
}

// patience is how long to wait for the other family once there are addresses
// of family f. RFC 8305 section 3 gives the preferred one 50 ms (Resolution
// Delay). When that is the one in hand, the other is of use not before the next
// attempt to connect, 250 ms after the first (section 5).
func (r *Resolver) patience(f Family) time.Duration {
	if f == r.prefer {
		return 250 * time.Millisecond
	}
	return 50 * time.Millisecond
}

// failure says why there are no addresses: a name is known not to exist only
// if both families say so.
func failure(a, b error) error {
	for _, err := range []error{a, b} {
		if !notFound(err) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrNoSuchHost, a)
}

func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
