// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Subscriber is one that has a session: connections, or some a moment ago.
type Subscriber struct {
	// Name of the subscriber.
	Name string `json:"name"`
	// Policy is the name of its policy; default for that of those for whom none
	// is named.
	Policy string `json:"policy"`
	// Session names the session in accounting records.
	Session string `json:"session"`
	// Address of the client that began it.
	Address netip.Addr `json:"address"`
	// Since is when it began.
	Since time.Time `json:"since"`
	// Age is how long ago that was.
	Age float64 `json:"age_seconds"`
	// Connections that have not ended.
	Connections int `json:"connections"`
	// Up are bytes from the subscriber in this session.
	Up uint64 `json:"bytes_up"`
	// Down are bytes to the subscriber in this session.
	Down uint64 `json:"bytes_down"`
	// Quota is what it may move; not there if it has none.
	Quota *QuotaState `json:"quota,omitempty"`
	// RateUp is the limit in force on what comes from it, in bytes per second; 0
	// is none.
	RateUp uint64 `json:"rate_up_bytes_per_second"`
	// RateDown is that on what goes to it.
	RateDown uint64 `json:"rate_down_bytes_per_second"`
	// Networks are the bytes by the access network that they came over; not
	// there if access networks are not told apart.
	Networks []NetworkBytes `json:"access_networks,omitempty"`
}

// QuotaState is a quota and what is used of it.
type QuotaState struct {
	// Bytes in both directions together, per period.
	Bytes uint64 `json:"bytes"`
	// Period is month, week, day or hour.
	Period string `json:"period"`
	// Used of them.
	Used uint64 `json:"used"`
	// Over is whether it is used up, and the reduced rate in force.
	Over bool `json:"over"`
}

// NetworkBytes is what was moved over an access network.
type NetworkBytes struct {
	// Name of it in the configuration; other for all that it does not name.
	Name string `json:"name"`
	// Up are bytes from the side of the clients.
	Up uint64 `json:"bytes_up"`
	// Down are bytes to it.
	Down uint64 `json:"bytes_down"`
}

// Subscribers is a list of them.
type Subscribers struct {
	// Subscribers in no particular order.
	Subscribers []Subscriber `json:"subscribers"`
	// More is whether the limit has left some out.
	More bool `json:"more"`
}

// SubscriberCounters count subscribers, and answers to the question who somebody
// is.
type SubscriberCounters struct {
	// Active are those that have a session.
	Active int `json:"active"`
	// Over are those of them whose quota is used up.
	Over int `json:"over_quota"`
	// Policies counts them by policy.
	Policies map[string]int `json:"policies"`
	// Granted by RADIUS.
	Granted uint64 `json:"granted"`
	// Rejected by RADIUS.
	Rejected uint64 `json:"rejected"`
	// Away is how often no server of RADIUS answered.
	Away uint64 `json:"away"`
	// Busy is how often RADIUS was not asked, because too many waited already.
	Busy uint64 `json:"busy"`
	// Cached are answers of RADIUS that were remembered.
	Cached uint64 `json:"cached"`
	// AccountingSent are records that an accounting server has taken.
	AccountingSent uint64 `json:"accounting_sent"`
	// AccountingWaiting are records that wait for one.
	AccountingWaiting int `json:"accounting_waiting"`
	// AccountingLost are records for which there was no room.
	AccountingLost uint64 `json:"accounting_lost"`
}

// SubscriberFilter chooses subscribers. Its zero value is all of them.
type SubscriberFilter struct {
	Name   string
	Policy string
	Over   bool // only those whose quota is used up
	Limit  int  // how many at most; 0: all
}

var subscriberParameters = []parameter{
	{name: "name", about: "only the subscriber with this name"},
	{name: "policy", about: "only subscribers with this policy"},
	{name: "over", about: "true: only subscribers whose quota is used up", kind: boolean},
	{name: "limit", about: "at most so many; all if not given", kind: count},
}

func (f *SubscriberFilter) query() url.Values {
	v := url.Values{}
	if f.Name != "" {
		v.Set("name", f.Name)
	}
	if f.Policy != "" {
		v.Set("policy", f.Policy)
	}
	if f.Over {
		v.Set("over", "true")
	}
	if f.Limit != 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	return v
}

func parseSubscriberFilter(v url.Values) (SubscriberFilter, error) {
	f := SubscriberFilter{Name: v.Get("name"), Policy: v.Get("policy")}
	var err error
	if f.Over, err = parseBool(v, "over"); err != nil {
		return f, err
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return f, badRequest("limit: \""+s+"\"", "want a number of subscribers")
		}
		f.Limit = int(n)
	}
	return f, nil
}

func (f *SubscriberFilter) matches(s *Subscriber) bool {
	return (f.Name == "" || f.Name == s.Name) && (f.Policy == "" || f.Policy == s.Policy) &&
		(!f.Over || s.Quota != nil && s.Quota.Over)
}

func (s *Server) subscribers(w http.ResponseWriter, r *http.Request) error {
	f, err := parseSubscriberFilter(r.URL.Query())
	if err != nil {
		return err
	}
	return listUpTo(w, r, "subscribers", f.Limit, s.o.Gateway.Subscribers(), f.matches)
}

// listUpTo answers with those items that match, up to a limit if that is not 0.
func listUpTo[T any](w http.ResponseWriter, r *http.Request, key string, limit int, all iter.Seq[*T], matches func(*T) bool) error {
	out, more := beginList(w, key), false
	for item := range all {
		if err := r.Context().Err(); err != nil {
			return err
		}
		if !matches(item) {
			continue
		}
		if more = limit > 0 && out.n == limit; more {
			break
		}
		if err := out.add(item); err != nil {
			return err
		}
	}
	if more {
		return out.end(`,"more":true`)
	}
	return out.end(`,"more":false`)
}

// Subscribers visits the subscribers that a filter lets pass, each of which is the
// visitor's to keep, and reports whether the limit has left some out.
func (c *Client) Subscribers(ctx context.Context, f SubscriberFilter, visit func(*Subscriber) error) (more bool, err error) {
	return visitAll(ctx, c, "/v1/subscribers", f.query(), visit)
}

// visitAll reads what listUpTo has written.
func visitAll[T any](ctx context.Context, c *Client, path string, query url.Values, visit func(*T) error) (more bool, err error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	err = c.request(ctx, http.MethodGet, path, nil, func(body io.Reader) error {
		in := json.NewDecoder(body)
		if err := readList(in, visit); err != nil {
			return err
		}
		for in.More() {
			key, err := in.Token()
			if err != nil {
				return err
			}
			var value any = new(json.RawMessage)
			if key == "more" {
				value = &more
			}
			if err := in.Decode(value); err != nil {
				return err
			}
		}
		_, err := in.Token() // }, without which the answer is not whole
		return err
	})
	return more, err
}
