// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzFilter: whatever the query, it is refused with a reason, or it means the
// same once written again.
func FuzzFilter(f *testing.F) {
	for _, query := range []string{
		"", "listener=phones&user=ada", "client=192.0.2.0/24&limit=10", "client=2001:db8::1&token=0xbeef", "client=10.0.0.0/33",
		"token=xyz", "limit=-1", "client=fe80::1%25eth0", "user=%00", "server=203.0.113.0/24&policy=gold", "client=::ffff:192.0.2.1",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := parseFilter(values)
		if err != nil {
			if status(err) != 400 || err.Error() == "" {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		again, err := parseFilter(filter.query())
		if d := cmp.Diff(filter, again, cmp.Comparer(func(a, b Filter) bool { return a == b })); err != nil || d != "" {
			t.Errorf("%q: %v (-first +again):\n%s", query, err, d)
		}
		filter.matches(&Connection{})
	})
}
