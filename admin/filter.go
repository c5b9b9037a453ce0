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
	Server   netip.Prefix // of the address that it leads to
	User     string       // or subscriber
	Policy   string       // of the subscriber
	Token    Token        // of either leg
	Limit    int          // how many at most; 0: all
}

var filterParameters = []parameter{
	{name: "listener", about: "only connections of this listener"},
	{name: "client", about: "only connections of clients in this prefix, or of this address"},
	{name: "server", about: "only connections to servers in this prefix, or to this address"},
	{name: "user", about: "only connections of this user or subscriber"},
	{name: "policy", about: "only connections of subscribers with this policy"},
	{name: "token", about: "only the connection with this MPTCP token on one of its legs", kind: mptcpToken},
	{name: "limit", about: "at most so many; all if not given", kind: count},
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
	set("server", f.Server.String(), f.Server.IsValid())
	set("user", f.User, f.User != "")
	set("policy", f.Policy, f.Policy != "")
	set("token", f.Token.String(), f.Token != 0)
	set("limit", strconv.Itoa(f.Limit), f.Limit != 0)
	return v
}

// parseFilter is the reverse of query.
func parseFilter(v url.Values) (Filter, error) {
	f := Filter{Listener: v.Get("listener"), User: v.Get("user"), Policy: v.Get("policy")}
	for name, prefix := range map[string]*netip.Prefix{"client": &f.Client, "server": &f.Server} {
		if s := v.Get(name); s != "" {
			var err error
			if *prefix, err = policy.ParsePrefix(s); err != nil {
				return f, badRequest(name+": \""+s+"\"", err.Error())
			}
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
		(f.Policy == "" || f.Policy == c.Policy) &&
		(!f.Client.IsValid() || f.Client.Contains(c.Client.Address.Addr().Unmap())) &&
		(!f.Server.IsValid() || c.Server != nil && f.Server.Contains(c.Server.Address.Addr().Unmap())) &&
		(f.Token == 0 || f.Token == c.Client.Token || c.Server != nil && f.Token == c.Server.Token)
}

// parseBool reads a parameter that is true or false; false if it is not there.
func parseBool(v url.Values, name string) (bool, error) {
	text := v.Get(name)
	if text == "" {
		return false, nil
	}
	yes, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest(name+": \""+text+"\"", "want true or false")
	}
	return yes, nil
}
