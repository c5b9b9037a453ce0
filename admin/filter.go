// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/netip"
	"net/url"
	"strconv"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Filter chooses connections. Its zero value is all of them.
type Filter struct {
	Listener string
	Client   netip.Prefix
	User     string
	Token    Token // of either leg
	Limit    int   // how many at most; 0: all
}

var filterParameters = []parameter{
	{"listener", "string", "only connections of this listener"},
	{"client", "string", "only connections of clients in this prefix, or of this address"},
	{"user", "string", "only connections of this user"},
	{"token", "string", "only the connection with this MPTCP token on one of its legs"},
	{"limit", "integer", "at most so many; all if not given"},
}

// query is the filter as parameters of a request.
func (f *Filter) query() url.Values {
	v := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	set("listener", f.Listener, f.Listener != "")
	set("client", f.Client.String(), f.Client.IsValid())
	set("user", f.User, f.User != "")
	set("token", f.Token.String(), f.Token != 0)
	set("limit", strconv.Itoa(f.Limit), f.Limit != 0)
	return v
}

// parseFilter is the reverse of query.
func parseFilter(v url.Values) (Filter, error) {
	f := Filter{Listener: v.Get("listener"), User: v.Get("user")}
	if s := v.Get("client"); s != "" {
		var err error
		if f.Client, err = policy.ParsePrefix(s); err != nil {
			return f, badRequest("client: \""+s+"\"", err.Error())
		}
	}
	if s := v.Get("token"); s != "" {
		if err := f.Token.UnmarshalText([]byte(s)); err != nil {
			return f, badRequest("token: "+err.Error(), "")
		}
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return f, badRequest("limit: \""+s+"\"", "want a number of connections")
		}
		f.Limit = int(n)
	}
	return f, nil
}

// matches reports whether a connection is wanted.
func (f *Filter) matches(c *Connection) bool {
	return (f.Listener == "" || f.Listener == c.Listener) &&
		(f.User == "" || f.User == c.User) &&
		(!f.Client.IsValid() || f.Client.Contains(c.Client.Address.Addr().Unmap())) &&
		(f.Token == 0 || f.Token == c.Client.Token || c.Server != nil && f.Token == c.Server.Token)
}
