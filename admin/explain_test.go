// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	g := &gateway{}
	_, c := serve(t, g)
	q := Question{
		Source: netip.MustParseAddr("192.0.2.1"), Destination: "www.example.com", Port: 443, Listener: "phones",
		User: "ada", Options: "scheduler=primary;user-timeout=5s", Interface: "br-lan",
	}
	x, err := c.Explain(t.Context(), q)
	if err != nil || g.asked != q || len(x.Listeners) != 1 || x.Listeners[0].Outcome != Served {
		t.Errorf("%+v, %v; asked %+v", x, err, g.asked)
	}
	g.err = errors.New("there is no such listener")
	if _, err := c.Explain(t.Context(), q); status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "no such") {
		t.Error(err)
	}
	if _, err := c.Explain(t.Context(), Question{}); status(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "source") {
		t.Error(err)
	}
}

// FuzzQuestion: whatever the query, it is refused with a reason, or it means the
// same once written again.
func FuzzQuestion(f *testing.F) {
	for _, query := range []string{
		"", "source=192.0.2.1&destination=2001:db8::1&port=80", "source=fe80::1%25eth0&destination=a&port=1&user=ada",
		"source=1.2.3.4&destination=x&port=0", "source=1.2.3.4&port=1", "source=x", "source=::ffff:1.2.3.4&destination=x&port=65536",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := parseQuestion(values)
		if err != nil {
			if status(err) != 400 || err.Error() == "" {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		again, err := parseQuestion(q.query())
		if d := cmp.Diff(q, again, cmp.Comparer(func(a, b Question) bool { return a == b })); err != nil || d != "" {
			t.Errorf("%q: %v (-first +again):\n%s", query, err, d)
		}
	})
}
