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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var both = []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"}

func always(v verdict) func(string, Family) verdict {
	return func(string, Family) verdict { return v }
}

// texts sorts within families, because RFC 6724 orders by the routes of the
// machine, and keeps which family stands where.
func texts(addrs []netip.Addr) []string {
	var families [2][]netip.Addr
	for _, a := range addrs {
		families[a.BitLen()/128] = append(families[a.BitLen()/128], a)
	}
	var out []string
	for _, f := range families {
		slices.SortFunc(f, netip.Addr.Compare)
	}
	for _, a := range addrs {
		f := &families[a.BitLen()/128]
		out = append(out, (*f)[0].String())
		*f = (*f)[1:]
	}
	return out
}

func lookup(t *testing.T, r *Resolver, host string) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	addrs, err := r.Lookup(ctx, host)
	return texts(addrs), err
}

func TestLookupInterleavesFamilies(t *testing.T) {
	s := serveNames(t, always(verdict{addrs: both}))
	for prefer, want := range map[Family][]string{
		IPv6: {"2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"},
		IPv4: {"192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"},
	} {
		got, err := lookup(t, New(Config{Servers: []netip.AddrPort{s.addr}, Prefer: prefer}), "www.example.test")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefer %d: (-want +got)\n%s", prefer, diff)
		}
	}
}

func TestLookupOfOneFamily(t *testing.T) {
	s := serveNames(t, always(verdict{addrs: []string{"192.0.2.1", "192.0.2.2"}}))
	got, err := lookup(t, New(Config{Servers: []netip.AddrPort{s.addr}}), "www.example.test")
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.2"}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}

func TestLookupOfLiterals(t *testing.T) {
	s := serveNames(t, always(verdict{code: dnsmessage.RCodeServerFailure}))
	r := New(Config{Servers: []netip.AddrPort{s.addr}})
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:DB8::1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1"} {
		if got, err := lookup(t, r, in); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	if got, err := lookup(t, r, "fe80::1%lo"); !errors.Is(err, ErrZone) {
		t.Errorf("zone: %v, %v", got, err)
	}
	if q := s.asked(); len(q) != 0 {
		t.Errorf("asked %v", q)
	}
}

func TestLookupFailures(t *testing.T) {
	servfail := verdict{code: dnsmessage.RCodeServerFailure}
	nxdomain := verdict{code: dnsmessage.RCodeNameError}
	tests := []struct {
		name     string
		v6, v4   verdict
		notFound bool
	}{
		{"name does not exist", nxdomain, nxdomain, true},
		{"name without addresses", verdict{}, verdict{}, true},
		{"server fails", servfail, servfail, false},
		{"server fails for one family", servfail, nxdomain, false},
		{"server fails for the other", nxdomain, servfail, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveNames(t, func(_ string, f Family) verdict { return [...]verdict{tt.v6, tt.v4}[f] })
			got, err := lookup(t, New(Config{Servers: []netip.AddrPort{s.addr}}), "nobody.example.test")
			if err == nil || errors.Is(err, ErrNoSuchHost) != tt.notFound {
				t.Errorf("%v, %v", got, err)
			}
			var dns *net.DNSError
			if !errors.As(err, &dns) || dns.IsNotFound != tt.notFound {
				t.Errorf("no suitable DNSError in %v", err)
			}
		})
	}
}

func TestSimultaneousLookupsAskOnce(t *testing.T) {
	gate := make(chan struct{})
	s := serveNames(t, always(verdict{addrs: both, after: gate}))
	r := New(Config{Servers: []netip.AddrPort{s.addr}})
	var wg, started sync.WaitGroup
	for range 30 {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			got, err := lookup(t, r, "www.Example.test")
			if err != nil || len(got) != 4 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	started.Wait()
	close(gate)
	wg.Wait()
	if got, err := lookup(t, r, "www.example.test."); err != nil || len(got) != 4 {
		t.Errorf("%v, %v", got, err)
	}
	if q := s.asked(); len(q) != 2 {
		t.Errorf("asked %v", q)
	}
}

func TestSlowFamilyIsNotWaitedFor(t *testing.T) {
	for _, prefer := range []Family{IPv6, IPv4} {
		t.Run(fmt.Sprint(prefer), func(t *testing.T) {
			gate := make(chan struct{})
			s := serveNames(t, func(_ string, f Family) verdict {
				if f == IPv6 {
					return verdict{addrs: both, after: gate}
				}
				return verdict{addrs: both}
			})
			r := New(Config{Servers: []netip.AddrPort{s.addr}, Prefer: prefer})
			got, err := lookup(t, r, "www.example.test")
			if diff := cmp.Diff([]string{"192.0.2.1"}, got); err != nil || diff != "" {
				t.Errorf("%v, (-want +got)\n%s", err, diff)
			}
			close(gate)
			await(t, "the late family", func() bool {
				got, err := lookup(t, r, "www.example.test")
				return err == nil && len(got) == 4
			})
			if q := s.asked(); len(q) != 2 {
				t.Errorf("asked %v", q)
			}
		})
	}
}

func TestNextServerIsAsked(t *testing.T) {
	good := serveNames(t, always(verdict{addrs: both}))
	failing := serveNames(t, always(verdict{code: dnsmessage.RCodeServerFailure}))
	silent := serveNames(t, always(verdict{silent: true}))
	closed := netip.MustParseAddrPort("127.0.0.1:1")
	for name, first := range map[string]netip.AddrPort{"refuses": closed, "fails": failing.addr, "is silent": silent.addr} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{Servers: []netip.AddrPort{first, good.addr}})
			got, err := lookup(t, r, "www.example.test")
			if err != nil || len(got) != 4 {
				t.Fatalf("%v, %v", got, err)
			}
			before := len(silent.asked()) + len(failing.asked())
			if _, err := lookup(t, r, "other.example.test"); err != nil {
				t.Fatal(err)
			}
			if after := len(silent.asked()) + len(failing.asked()); after != before {
				t.Error("the server that does not answer was asked first again")
			}
		})
	}
}

// TestQueriesAreBounded has more names looked up than may be asked for at once:
// the others are when there is room.
func TestQueriesAreBounded(t *testing.T) {
	answer := make(chan struct{})
	s := serveNames(t, func(string, Family) verdict {
		return verdict{addrs: []string{"192.0.2.1", "2001:db8::1"}, after: answer}
	})
	r := New(Config{Servers: []netip.AddrPort{s.addr}, Timeout: time.Minute})
	const more = 10
	var looking sync.WaitGroup
	for i := range maxQueries + more {
		looking.Go(func() {
			if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
				t.Error(err)
			}
		})
	}
	names := func() int {
		seen := map[string]bool{}
		for _, question := range s.asked() {
			name, _, _ := strings.Cut(question, " ")
			seen[name] = true
		}
		return len(seen)
	}
	for names() < maxQueries {
		time.Sleep(time.Millisecond)
	}
	if n := names(); n != maxQueries {
		t.Errorf("%d names are asked for at once, want %d", n, maxQueries)
	}
	close(answer)
	looking.Wait()
	if n := names(); n != maxQueries+more {
		t.Errorf("%d names were asked for", n)
	}
}

func TestTimeout(t *testing.T) {
	s := serveNames(t, always(verdict{silent: true}))
	r := New(Config{Servers: []netip.AddrPort{s.addr}, Timeout: 50 * time.Millisecond})
	got, err := lookup(t, r, "www.example.test")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoSuchHost) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestCancelledAskerDoesNotSpoilTheOthers(t *testing.T) {
	gate := make(chan struct{})
	s := serveNames(t, always(verdict{addrs: both, after: gate}))
	r := New(Config{Servers: []netip.AddrPort{s.addr}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(ctx, "www.example.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(gate)
	if got, err := lookup(t, r, "www.example.test"); err != nil || len(got) != 4 {
		t.Errorf("%v, %v", got, err)
	}
	if q := s.asked(); len(q) != 2 {
		t.Errorf("asked %v", q)
	}
}

func TestQueriesUsePlainSocketsAndControl(t *testing.T) {
	s := serveNames(t, always(verdict{addrs: both, truncate: true}))
	var mu sync.Mutex
	protocols := map[int]bool{}
	r := New(Config{Servers: []netip.AddrPort{s.addr}, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			protocols[p] = true
		})
	}})
	if got, err := lookup(t, r, "www.example.test"); err != nil || len(got) != 4 {
		t.Errorf("%v, %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[int]bool{unix.IPPROTO_UDP: true, unix.IPPROTO_TCP: true}, protocols); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestResultBelongsToTheCaller(t *testing.T) {
	s := serveNames(t, always(verdict{addrs: []string{"192.0.2.1"}}))
	r := New(Config{Servers: []netip.AddrPort{s.addr}})
	for range 2 {
		addrs, err := r.Lookup(t.Context(), "www.example.test")
		if err != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("%v, %v", addrs, err)
		}
		addrs[0] = netip.Addr{}
	}
}

func TestCacheForgets(t *testing.T) {
	var c cache
	now := time.Now()
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	c.store("a.", addrs, now)
	if c.find("a.", now.Add(keep)) == nil || c.find("a.", now.Add(keep+1)) != nil {
		t.Error("a result is not kept for as long as it should be")
	}
	for i := range 3 * maxNames {
		c.store(fmt.Sprint(i), addrs, now)
	}
	if len(c.names) > maxNames {
		t.Errorf("%d names", len(c.names))
	}
	if c.find(fmt.Sprint(3*maxNames-1), now) == nil {
		t.Error("the name stored last is gone")
	}
}

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func BenchmarkCachedLookup(b *testing.B) {
	r := New(Config{})
	r.cache.store("www.example.test.", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, time.Now().Add(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(b.Context(), "www.example.test"); err != nil {
			b.Fatal(err)
		}
	}
}
