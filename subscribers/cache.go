// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"
)

// CacheOptions bound what is remembered of a Backend's answers.
type CacheOptions struct {
	Time     time.Duration // that a grant is good for; 0 is DefaultCacheTime
	Negative time.Duration // that a rejection is; 0 is DefaultNegativeTime
	Size     int           // grants, and rejections, at most; 0 is DefaultCacheSize
}

// Defaults of CacheOptions.
const (
	DefaultCacheTime    = 5 * time.Minute
	DefaultNegativeTime = 10 * time.Second
	DefaultCacheSize    = 16384
)

type digest = [sha256.Size]byte

// cache remembers answers: grants by user, rejections by user and password, each
// in a list of their own, so that guesses cannot displace those who were right.
// Passwords are kept as a MAC under a key that never leaves the process.
type cache struct {
	o   CacheOptions
	key [sha256.Size]byte

	mu              sync.Mutex
	granted, denied table
}

// table is a map whose oldest entries make room for new ones.
type table struct {
	entries map[string]*list.Element
	order   *list.List
}

type entry struct {
	key     string
	digest  digest
	grant   Grant
	expires time.Time
}

func newCache(o CacheOptions) *cache {
	if o.Time == 0 {
		o.Time = DefaultCacheTime
	}
	if o.Negative == 0 {
		o.Negative = DefaultNegativeTime
	}
	if o.Size == 0 {
		o.Size = DefaultCacheSize
	}
	c := &cache{o: o, granted: newTable(), denied: newTable()}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

func newTable() table { return table{entries: map[string]*list.Element{}, order: list.New()} }

func (t *table) find(key string) *entry {
	e := t.entries[key]
	if e == nil {
		return nil
	}
	t.order.MoveToFront(e)
	return e.Value.(*entry)
}

func (t *table) put(e *entry, size int) {
	t.drop(e.key)
	t.entries[e.key] = t.order.PushFront(e)
	for len(t.entries) > size {
		t.drop(t.order.Back().Value.(*entry).key)
	}
}

func (t *table) drop(key string) {
	if old := t.entries[key]; old != nil {
		t.order.Remove(old)
		delete(t.entries, key)
	}
}

// digest is what is kept of a question.
func (c *cache) digest(q *Question) digest {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(q.User))
	mac.Write([]byte{0})
	mac.Write([]byte(q.Password))
	return digest(mac.Sum(nil))
}

// lookup returns what is known: a grant, or ErrRejected, or ErrAsk. With stale
// grants count however old they are.
func (c *cache) lookup(q *Question, now time.Time, stale bool) (Grant, error) {
	d := c.digest(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.granted.find(grantKey(q)); e != nil && (stale || now.Before(e.expires)) && subtle.ConstantTimeCompare(e.digest[:], d[:]) == 1 {
		return e.grant, nil
	}
	if e := c.denied.find(string(d[:])); e != nil && now.Before(e.expires) {
		return Grant{}, ErrRejected
	}
	return Grant{}, ErrAsk
}

// grantKey keeps users apart that have the name of an address.
func grantKey(q *Question) string {
	if q.ByAddress {
		return "@" + q.User
	}
	return "u" + q.User
}

// grantOf returns the last grant of a user, however old, for whom a password was
// right a moment ago.
func (c *cache) grantOf(user string) (Grant, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.granted.find("u" + user); e != nil {
		return e.grant, true
	}
	return Grant{}, false
}

// allow remembers a grant. What it says of its lifetime is an upper bound.
func (c *cache) allow(q *Question, g Grant, now time.Time) {
	keep := c.o.Time
	if l := g.Changes.Lifetime; l != nil && *l > 0 {
		keep = min(keep, *l)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted.put(&entry{key: grantKey(q), digest: c.digest(q), grant: g, expires: now.Add(keep)}, c.o.Size)
}

// deny remembers a rejection. It takes back a grant for the same password.
func (c *cache) deny(q *Question, now time.Time) {
	d := c.digest(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.granted.find(grantKey(q)); e != nil && e.digest == d {
		c.granted.drop(e.key)
	}
	c.denied.put(&entry{key: string(d[:]), digest: d, expires: now.Add(c.o.Negative)}, c.o.Size)
}

// forget takes back what is known of a subscriber.
func (c *cache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted.drop("u" + name)
	c.granted.drop("@" + name)
}

// postpone lets somebody in for as long as rejections last, and asks again then.
func (c *cache) postpone(q *Question, g Grant, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted.put(&entry{key: grantKey(q), digest: c.digest(q), grant: g, expires: now.Add(c.o.Negative)}, c.o.Size)
}

// amend changes the grant of a subscriber who has one.
func (c *cache) amend(name string, g Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range []string{"u" + name, "@" + name} {
		if e := c.granted.find(key); e != nil {
			e.grant = g
		}
	}
}
