// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/netip"
	"net/url"
	"slices"
	"testing"
)

func TestSubscribers(t *testing.T) {
	var all []Subscriber
	for _, name := range []string{"ada", "bob", "cyd"} {
		all = append(all, Subscriber{Name: name, Policy: "default", Address: netip.MustParseAddr("192.0.2.1")})
	}
	all[1].Policy, all[1].Quota = "gold", &QuotaState{Bytes: 1000, Used: 1000, Over: true, Period: "day"}
	all[2].Quota = &QuotaState{Bytes: 1000, Used: 10, Period: "day"}
	_, c := serve(t, &gateway{subscribers: all})
	for _, test := range []struct {
		filter SubscriberFilter
		want   []string
		more   bool
	}{
		{SubscriberFilter{}, []string{"ada", "bob", "cyd"}, false},
		{SubscriberFilter{Name: "cyd"}, []string{"cyd"}, false},
		{SubscriberFilter{Policy: "default"}, []string{"ada", "cyd"}, false},
		{SubscriberFilter{Over: true}, []string{"bob"}, false},
		{SubscriberFilter{Limit: 2}, []string{"ada", "bob"}, true},
		{SubscriberFilter{Name: "dan"}, nil, false},
	} {
		var got []string
		more, err := c.Subscribers(t.Context(), test.filter, func(s *Subscriber) error {
			got = append(got, s.Name)
			return nil
		})
		if err != nil || !slices.Equal(got, test.want) || more != test.more {
			t.Errorf("%+v: %v, more: %t, %v, want %v", test.filter, got, more, err, test.want)
		}
	}
}

// FuzzSubscriberFilter: whatever the query, it is refused with a reason, or it
// means the same once written again.
func FuzzSubscriberFilter(f *testing.F) {
	for _, query := range []string{"", "name=ada&policy=gold", "over=true&limit=3", "over=maybe", "limit=-1", "limit=x"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := parseSubscriberFilter(values)
		if err != nil {
			if status(err) != 400 || err.Error() == "" {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if again, err := parseSubscriberFilter(filter.query()); err != nil || again != filter {
			t.Errorf("%q: %+v, %v; first %+v", query, again, err, filter)
		}
		filter.matches(&Subscriber{})
	})
}
