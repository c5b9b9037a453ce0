// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/config/password"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is a Backend with a fixed answer.
type answers struct {
	mu    sync.Mutex
	grant Grant
	err   error
	asked int
}

func (a *answers) Authenticate(context.Context, Question) (Grant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.grant, a.err
}

func (a *answers) set(g Grant, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grant, a.err = g, err
}

// ledger is an Accountant that remembers.
type ledger struct {
	mu     sync.Mutex
	events []Event
}

func (l *ledger) Account(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *ledger) last(t *testing.T) Event {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		t.Fatal("nothing was accounted for")
	}
	return l.events[len(l.events)-1]
}

var home = netip.MustParseAddr("192.0.2.7")

func newTestRegistry(t *testing.T, o Options) *Registry {
	t.Helper()
	if o.Directory == nil {
		d, err := NewDirectory(DirectoryConfig{
			Subscribers: []Subscriber{
				{Name: "anna", Password: "geheim", Policy: "small", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
				{Name: "bert", Hash: password.New("auch"), Hashed: true},
			},
			Policies: map[string]Policy{"small": {Connections: 2}, "slow": {Up: 1000, Down: 2000}},
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Directory = d
	}
	r, err := NewRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestListedSubscribers(t *testing.T) {
	r := newTestRegistry(t, Options{})
	for _, c := range []struct {
		name, password string
		right          bool
	}{
		{"anna", "geheim", true}, {"anna", "auch", false}, {"bert", "auch", true}, {"bert", "", false}, {"carl", "", false},
	} {
		if right, err := r.Verify(context.Background(), c.name, c.password); right != c.right || err != nil {
			t.Errorf("%s with %q: %v, %v", c.name, c.password, right, err)
		}
	}
	now := time.Now()
	a, err := r.Admit("", home, now)
	if err != nil || a.Name != "anna" {
		t.Fatalf("%v belongs to %+v, %v", home, a, err)
	}
	if b, err := r.Admit("anna", netip.MustParseAddr("2001:db8::1"), now); err != nil || b != a {
		t.Fatalf("another account for the same subscriber: %v", err)
	}
	var refused *policy.Refused
	if _, err := r.Admit("anna", home, now); !errors.As(err, &refused) || refused.Reason != policy.Subscriber {
		t.Errorf("a third connection: %v", err)
	}
	a.Release(now)
	if _, err := r.Admit("anna", home, now); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if _, err := r.Admit("", netip.MustParseAddr("198.51.100.1"), now); !errors.Is(err, ErrNobody) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestNewConnectionsPerSecond(t *testing.T) {
	d, err := NewDirectory(DirectoryConfig{Default: Policy{NewPerSecond: 2, Burst: 3}})
	if err != nil {
		t.Fatal(err)
	}
	r, now := newTestRegistry(t, Options{Directory: d}), time.Now()
	admit := func(want int) {
		t.Helper()
		for i := range want + 1 {
			_, err := r.Admit("anna", home, now)
			var refused *policy.Refused
			if got := errors.As(err, &refused) && refused.Reason == policy.SubscriberRate; got != (i == want) {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	admit(3)
	now = now.Add(time.Second)
	admit(2)
}

func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &answers{err: ErrRejected}
		r := newTestRegistry(t, Options{Backend: b, Cache: CacheOptions{Time: time.Minute, Negative: 5 * time.Second}})
		ask := func(want bool, asked int) {
			t.Helper()
			right, err := r.Verify(context.Background(), "carl", "x")
			if right != want || err != nil || b.asked != asked {
				t.Fatalf("%v, %v after asking %d times; want %v after %d", right, err, b.asked, want, asked)
			}
			if right, known := r.Known("carl", "x"); right != want || !known {
				t.Fatalf("knows %v, %v", right, known)
			}
		}
		ask(false, 1)
		b.set(Grant{Changes: Changes{Policy: "slow"}}, nil)
		ask(false, 1)
		time.Sleep(6 * time.Second)
		ask(true, 2)
		time.Sleep(50 * time.Second)
		ask(true, 2)
		if _, known := r.Known("carl", "y"); known {
			t.Error("knows an answer to another password")
		}
		a, err := r.Admit("carl", home, time.Now())
		if err != nil || a.State().RateDown != 2000 {
			t.Fatalf("%+v, %v", a, err)
		}
		time.Sleep(time.Minute)
		b.set(Grant{Changes: Changes{Policy: "there is none"}}, nil)
		ask(false, 3)
	})
}

func TestBackendIsAway(t *testing.T) {
	for mode, want := range map[Away]map[string]bool{
		Refuse: {"known": false, "unknown": false},
		Cached: {"known": true, "unknown": false},
		Allow:  {"known": true, "unknown": true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(answers)
			r := newTestRegistry(t, Options{Backend: b, WhenAway: mode})
			if right, err := r.Verify(context.Background(), "known", "x"); !right {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			b.set(Grant{}, ErrAway)
			for user, want := range want {
				right, err := r.Verify(context.Background(), user, "x")
				if right != want || errors.Is(err, ErrAway) == want {
					t.Errorf("mode %d, %s: %v, %v", mode, user, right, err)
				}
			}
			if mode != Allow {
				if right, _ := r.Verify(context.Background(), "known", "wrong"); right {
					t.Error("a wrong password is let in")
				}
			}
		})
	}
}

// TestAwayKeepsGrant: a wrong password does not free a subscriber of its policy
// while all are let in.
func TestAwayKeepsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &answers{grant: Grant{Changes: Changes{Policy: "slow"}}}
		r := newTestRegistry(t, Options{Backend: b, WhenAway: Allow})
		for _, password := range []string{"x", "wrong", "x"} {
			if right, err := r.Verify(context.Background(), "carl", password); !right {
				t.Fatal(err)
			}
			a, err := r.Admit("carl", home, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if got := a.State().RateDown; got != 2000 {
				t.Errorf("password %q: %d bytes/s down", password, got)
			}
			a.Release(time.Now())
			time.Sleep(time.Hour)
			b.set(Grant{}, ErrAway)
		}
	})
}

// busy is a Backend whose servers answer nobody.
type busy struct{ asked atomic.Int64 }

func (b *busy) Authenticate(ctx context.Context, _ Question) (Grant, error) {
	b.asked.Add(1)
	<-ctx.Done()
	return Grant{}, ErrAway
}

// TestGuessesAreBounded has more people ask, and leave, than servers answer: what
// they have asked does not pile up, and lets nobody in.
func TestGuessesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(busy)
		r := newTestRegistry(t, Options{Backend: b, WhenAway: Allow})
		gone, leave := context.WithCancel(context.Background())
		leave()
		for i := range maxAsked + 10 {
			if right, err := r.Verify(gone, "anybody", fmt.Sprint(i)); right || err == nil {
				t.Fatalf("%v, %v", right, err)
			}
			synctest.Wait()
		}
		if n := b.asked.Load(); n != maxAsked {
			t.Errorf("%d questions were asked, want %d", n, maxAsked)
		}
		if right, err := r.Verify(context.Background(), "carl", "x"); right || !errors.Is(err, ErrBusy) {
			t.Errorf("%v, %v while too many wait", right, err)
		}
		if s := r.Stats(); s.Busy != 11 || s.Away != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestByAddress(t *testing.T) {
	b := &answers{grant: Grant{Changes: Changes{Policy: "slow"}}}
	r, now := newTestRegistry(t, Options{Backend: b, ByAddress: true}), time.Now()
	stranger := netip.MustParseAddr("::ffff:198.51.100.1")
	if _, err := r.Admit("", stranger, now); err != ErrAsk {
		t.Fatal(err)
	}
	if err := r.Find(context.Background(), stranger); err != nil {
		t.Fatal(err)
	}
	a, err := r.Admit("", stranger, now)
	if err != nil || a.Name != "198.51.100.1" || a.State().RateUp != 1000 {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, b := new(ledger), new(answers)
		var kicked []*Account
		lifetime := 10 * time.Minute
		b.set(Grant{Changes: Changes{Lifetime: &lifetime}, Class: [][]byte{[]byte("c")}}, nil)
		r := newTestRegistry(t, Options{
			Backend: b, Accountant: l, Interim: 3 * time.Minute, Linger: time.Minute,
			Kick: func(a *Account) {
				kicked = append(kicked, a)
				a.Release(time.Now())
			},
		})
		if right, err := r.Verify(context.Background(), "carl", "x"); !right {
			t.Fatal(err)
		}
		a, err := r.Admit("carl", home, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if e := l.last(t); e.Kind != Start || e.User != "carl" || e.Address != home || string(e.Class[0]) != "c" {
			t.Errorf("%+v", e)
		}
		a.Moved(Up, 100, time.Now())
		a.Moved(Down, 1000, time.Now())
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if e := l.last(t); e.Kind != Interim || e.Up != 100 || e.Down != 1000 {
			t.Errorf("%+v", e)
		}
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if e := l.last(t); e.Kind != Stop || e.Cause != Lifetime || len(kicked) != 1 || kicked[0] != a {
			t.Errorf("%+v, and %d are kicked", e, len(kicked))
		}
		if _, known := r.Known("carl", "x"); known {
			t.Error("comes back on the old answer")
		}

		again, err := r.Admit("anna", home, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		again.Release(time.Now())
		time.Sleep(time.Minute + 2*time.Second)
		synctest.Wait()
		if e := l.last(t); e.Kind != Stop || e.Cause != Logout || len(r.Accounts()) != 0 {
			t.Errorf("%+v", e)
		}
	})
}

// TestSubscriberThatIsTakenOffTheList keeps what it has until its session ends,
// however often the list is read again, and gets no new connections.
func TestSubscriberThatIsTakenOffTheList(t *testing.T) {
	r, now := newTestRegistry(t, Options{}), time.Now()
	a, err := r.Admit("", home, now)
	if err != nil || a.Name != "anna" || a.State().Policy != "small" {
		t.Fatalf("%+v, %v", a, err)
	}
	empty, err := NewDirectory(DirectoryConfig{Default: Policy{Up: 1000}, DefaultName: "other"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.Replace(empty)
		if s := a.State(); s.Policy != "small" || s.RateUp != 0 {
			t.Errorf("off the list: %+v", s)
		}
	}
	if _, err := r.Admit("", home, now); !errors.Is(err, ErrNobody) {
		t.Errorf("another connection: %v", err)
	}
	again, err := NewDirectory(DirectoryConfig{
		Subscribers: []Subscriber{{Name: "anna", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}},
		Default:     Policy{Up: 1000}, DefaultName: "other",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Replace(again)
	if s := a.State(); s.Policy != "other" || s.RateUp != 1000 {
		t.Errorf("on the list again: %+v", s)
	}
}

func TestChangeAndDisconnect(t *testing.T) {
	r := newTestRegistry(t, Options{})
	a, err := r.Admit("anna", home, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rate := uint64(5000)
	changed, err := r.Change(Matches{Name: "anna"}, Changes{Up: &rate})
	if s := a.State(); err != nil || len(changed) != 1 || s.RateUp != 5000 || s.RateDown != 0 {
		t.Errorf("%d changed, %v: %+v", len(changed), err, s)
	}
	if _, err := r.Change(Matches{Session: a.State().Session}, Changes{Policy: "slow"}); err != nil || a.State().RateUp != 1000 {
		t.Errorf("%v: %+v", err, a.State())
	}
	if _, err := r.Change(Matches{Name: "anna"}, Changes{Policy: "nonesuch"}); err == nil {
		t.Error("a policy that is not there is taken")
	}
	if n := r.Disconnect(Matches{Name: "anna", Address: netip.MustParseAddr("192.0.2.8")}); n != 0 {
		t.Errorf("another address: %d disconnected", n)
	}
	if n := r.Disconnect(Matches{Name: "anna", Address: home}); n != 1 || len(r.Accounts()) != 0 {
		t.Errorf("%d disconnected", n)
	}
}

// TestPerPolicy: what is counted for policies is what was moved under them, also
// by those who have another one now, or are gone.
func TestPerPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := NewDirectory(DirectoryConfig{
			Subscribers: []Subscriber{{Name: "ada", Policy: "gold", Password: "x"}},
			Policies:    map[string]Policy{"gold": {}, "lead": {}}, DefaultName: "basic",
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRegistry(Options{Directory: d, Linger: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		client, now := netip.MustParseAddr("192.0.2.1"), time.Now()
		ada, err := r.Admit("ada", client, now)
		if err != nil {
			t.Fatal(err)
		}
		bob, err := r.Admit("bob", client, now)
		if err != nil {
			t.Fatal(err)
		}
		ada.Moved(Up, 10, now)
		ada.Moved(Down, 100, now)
		bob.Moved(Up, 1, now)
		if _, err := r.Change(Matches{Name: "ada"}, Changes{Policy: "lead"}); err != nil {
			t.Fatal(err)
		}
		ada.Moved(Up, 5, now)
		check := func(name string, want PolicyStats) {
			t.Helper()
			if got := r.PerPolicy()[name]; got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		check("gold", PolicyStats{Up: 10, Down: 100})
		check("lead", PolicyStats{Subscribers: 1, Connections: 1, Up: 5})
		check("basic", PolicyStats{Subscribers: 1, Connections: 1, Up: 1})
		bob.Moved(Down, 7, now)
		ada.Release(now)
		bob.Release(now)
		time.Sleep(5 * time.Second)
		check("lead", PolicyStats{Up: 5})
		check("basic", PolicyStats{Up: 1, Down: 7})
	})
}
