// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// DefaultFlush is how often quotas are saved: what a crash loses at most.
	DefaultFlush = 10 * time.Second
	// forgotten is how old a period is that no quota needs any more.
	forgotten = 62 * 24 * time.Hour
	// lockPatience is how long another process may have the file.
	lockPatience = 5 * time.Second
)

var quotaBucket = []byte("quota")

// Usage is what a subscriber has used of a quota.
type Usage struct {
	Name   string
	Period time.Time // its start
	End    time.Time // of the period; not saved
	Bytes  uint64    // more than was saved before; after Store.Add: in all
}

// Store keeps what was used of quotas, in a file (bbolt) or in memory alone. The
// file is open only while it is written, and usage is added to what is there: two
// processes may use it at once, such as an old and a new one during an upgrade.
type Store struct {
	path string
	// Flush is how often a registry saves; 0 is DefaultFlush. It is not to be
	// changed once a registry has the store.
	Flush time.Duration

	writing sync.Mutex // of the file, and of saved
	saved   time.Time

	mu   sync.Mutex
	used map[string]Usage
}

// OpenStore reads a file, which is created if there is none. Without a path
// nothing outlives the process.
func OpenStore(path string) (*Store, error) {
	s := &Store{path: path, used: map[string]Usage{}, saved: time.Now()}
	if path == "" {
		return s, nil
	}
	return s, s.transaction(func(b *bbolt.Bucket) error {
		var old [][]byte
		err := b.ForEach(func(k, v []byte) error {
			u, ok := parseUsage(string(k), v)
			if !ok || time.Since(u.Period) > forgotten {
				old = append(old, k)
				return nil
			}
			s.used[u.Name] = u
			return nil
		})
		for _, k := range old {
			if err == nil {
				err = b.Delete(k)
			}
		}
		return err
	})
}

// transaction changes the file, as a whole or not at all.
func (s *Store) transaction(f func(*bbolt.Bucket) error) error {
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: lockPatience})
	if err != nil {
		return fmt.Errorf("quotas: %s: %w", s.path, err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(quotaBucket)
		if err != nil {
			return err
		}
		return f(b)
	})
	if err != nil {
		return fmt.Errorf("quotas: %s: %w", s.path, err)
	}
	return nil
}

// Used is what a subscriber has used in the period that began at start, as far
// as it has been saved.
func (s *Store) Used(name string, start time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.used[name]; u.Period.Equal(start) {
		return u.Bytes
	}
	return 0
}

// Add adds to what was used, and sets Bytes to what that makes in all. It waits
// for the disk. On an error nothing has changed.
func (s *Store) Add(batch []Usage) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.saved = time.Now()
	totals := slices.Clone(batch)
	var err error
	if s.path != "" {
		err = s.write(totals)
	} else {
		for i := range totals {
			u := &totals[i]
			u.Bytes += s.Used(u.Name, u.Period)
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, u := range totals {
		if batch[i].Bytes > 0 {
			s.used[u.Name], batch[i] = u, u
		}
	}
	return nil
}

// write adds usage to what the file has, and turns it into what there is then.
func (s *Store) write(batch []Usage) error {
	if !slices.ContainsFunc(batch, func(u Usage) bool { return u.Bytes > 0 }) {
		return nil
	}
	return s.transaction(func(b *bbolt.Bucket) error {
		for i := range batch {
			u, key := &batch[i], []byte(batch[i].Name)
			if u.Bytes == 0 {
				continue
			}
			before, _ := parseUsage(u.Name, b.Get(key))
			switch {
			case before.Period.Equal(u.Period):
				u.Bytes += before.Bytes
			case before.Period.After(u.Period) && !time.Now().Before(u.End):
				*u = before // the period is over
				continue
			}
			// Else what is there is of the period before, or of one of another
			// length, which quotas are not for any more.
			if err := b.Put(key, u.marshal()); err != nil {
				return err
			}
		}
		return nil
	})
}

// due reports whether it is time to save.
func (s *Store) due(now time.Time) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	every := s.Flush
	if every == 0 {
		every = DefaultFlush
	}
	return now.Sub(s.saved) >= every
}

// marshal is what the file has of a usage: the start of the period in seconds
// since 1970 and the bytes, 64 bits each, the highest byte first.
func (u Usage) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(u.Period.Unix()))
	return binary.BigEndian.AppendUint64(b, u.Bytes)
}

func parseUsage(name string, b []byte) (Usage, bool) {
	if len(b) != 16 {
		return Usage{}, false
	}
	return Usage{
		Name: name, Period: time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), Bytes: binary.BigEndian.Uint64(b[8:]),
	}, true
}
