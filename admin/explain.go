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
	{"source", "string", "address of the client; required"},
	{"destination", "string", "address or name of the server; required"},
	{"port", "integer", "port of the server; required"},
	{"listener", "string", "only this listener; all if not given"},
	{"user", "string", "user that the client has shown itself to be"},
	{"options", "string", "options that the client asks for, such as scheduler=primary;subflow-rate-limit=4Mbit"},
	{"interface", "string", "network interface that the client's packets arrive on; the one that leads back to it if not given"},
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
