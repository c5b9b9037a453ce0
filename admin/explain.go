// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// explainTimeout is how long names may take to be looked up.
const explainTimeout = 10 * time.Second

// Explanation says what would happen to a connection that nobody has made.
type Explanation struct {
	// Source is the address of the client.
	Source netip.Addr `json:"source"`
	// Destination that it would want: an address or a name, and a port.
	Destination string `json:"destination"`
	// Listeners that it could come to, in the order of the configuration.
	Listeners []Verdict `json:"listeners"`
}

// Verdict is what one listener would do with a connection.
type Verdict struct {
	// Listener is the name of it.
	Listener string `json:"listener"`
	// Type of it.
	Type string `json:"type"`
	// Outcome is served, refused, passed (not intercepted: it goes where it goes
	// without Tandem), elsewhere (the listener leads to another server only) or
	// depends (on what only a real connection finds out).
	Outcome string `json:"outcome"`
	// Rule that decided.
	Rule string `json:"rule"`
	// Rulings are the decisions, in the order in which they are made; the last
	// one is the refusal, if there is one.
	Rulings []Ruling `json:"rulings"`
}

// Ruling is one decision on a connection.
type Ruling struct {
	// Stage is what was decided: interception, authentication, source, limits,
	// subscriber, name, destination, upstream, connection, option or paths.
	Stage string `json:"stage"`
	// Verdict is passes, notes (worth knowing), refuses or depends.
	Verdict string `json:"verdict"`
	// Rule that says so, in the words of the configuration.
	Rule string `json:"rule"`
	// Detail says more.
	Detail string `json:"detail,omitempty"`
}

// Outcomes of a Verdict.
const (
	Served    = "served"
	Refused   = "refused"
	Passed    = "passed"
	Elsewhere = "elsewhere"
	Depends   = "depends"
)

// Question is a connection that nobody has made, to be explained.
type Question struct {
	// Source is the client's address.
	Source netip.Addr
	// Destination is an address or a name.
	Destination string
	Port        uint16
	Listener    string // the only one to look at; empty: all
	User        string // who the client has shown itself to be; empty: nobody
	// Options are those that the client asks for, such as
	// scheduler=primary;subflow-rate-limit=4Mbit.
	Options string
	// Interface that the client's packets arrive on; empty: the one that leads
	// back to it.
	Interface string
}

var questionParameters = []parameter{
	{name: "source", about: "address of the client", required: true},
	{name: "destination", about: "address or name of the server", required: true},
	{name: "port", about: "port of the server", kind: port, required: true},
	{name: "listener", about: "only this listener; all if not given"},
	{name: "user", about: "user that the client has shown itself to be"},
	{name: "options", about: "options that the client asks for, such as scheduler=primary;subflow-rate-limit=4Mbit"},
	{name: "interface", about: "network interface that the client's packets arrive on; the one that leads back to it if not given"},
}

// query is the question as parameters of a request.
func (q *Question) query() url.Values {
	v := url.Values{
		"source": {q.Source.String()}, "destination": {q.Destination}, "port": {strconv.Itoa(int(q.Port))},
	}
	for name, value := range map[string]string{"listener": q.Listener, "user": q.User, "options": q.Options, "interface": q.Interface} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// parseQuestion is the reverse of query.
func parseQuestion(v url.Values) (Question, error) {
	q := Question{
		Destination: v.Get("destination"), Listener: v.Get("listener"), User: v.Get("user"),
		Options: v.Get("options"), Interface: v.Get("interface"),
	}
	var err error
	if q.Source, err = netip.ParseAddr(v.Get("source")); err != nil {
		return q, badRequest("source: \""+v.Get("source")+"\"", "want the address of a client")
	}
	if q.Destination == "" {
		return q, badRequest("destination is missing", "want the address or the name of a server")
	}
	port, err := strconv.ParseUint(v.Get("port"), 10, 16)
	if err != nil || port == 0 {
		return q, badRequest("port: \""+v.Get("port")+"\"", "want a number from 1 to 65535")
	}
	q.Port = uint16(port)
	return q, nil
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r.URL.Query())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	x, err := s.o.Gateway.Explain(ctx, q)
	if err != nil {
		return &Error{err.Error(), "", http.StatusUnprocessableEntity}
	}
	return answer(w, x)
}
