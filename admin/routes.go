// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

//go:embed openapi.json
var openAPI []byte

// route is one thing that can be asked for. What is beside serve describes it
// in the OpenAPI document.
type route struct {
	method, path string
	serve        func(*Server, http.ResponseWriter, *http.Request) error
	summary      string
	parameters   []parameter // of the query; others are refused
	body, answer any         // values of their types; nil is none, or any JSON; lines are of one
	errors       []int       // beside those that every route may answer with
}

// parameter is one of a query.
type parameter struct {
	name, about string
	kind        kind
	required    bool
}

// kind is what a parameter may be.
type kind int

const (
	text kind = iota
	boolean
	count
	port
	mptcpToken
)

// lines is an answer of one JSON object per line, each of the type of its value.
type lines struct{ any }

var routes = []route{
	{"GET", "/v1/status", (*Server).status, "What the gateway is and has done", nil, nil, Status{}, nil},
	{"GET", "/v1/connections", (*Server).connections, "The connections that have not ended", filterParameters, nil, Connections{}, nil},
	{"GET", "/v1/explain", (*Server).explain, "What would happen to a connection that nobody has made, and which rules say so", questionParameters, nil, Explanation{}, []int{422}},
	{"DELETE", "/v1/connections/{id}", (*Server).kick, "Ends a connection with a reset on both legs", nil, nil, nil, []int{404}},
	{"PATCH", "/v1/connections/{id}/options", (*Server).choose, "Changes options of a connection that is relayed, and tells what is in force then", nil, OptionChange{}, ConnectionOptions{}, []int{404, 409, 422}},
	{"PATCH", "/v1/connections/options", (*Server).chooseAll, "Changes options of all connections that match and are relayed; which has to be said", changeParameters, OptionChange{}, Changed{}, []int{422}},
	{"GET", "/v1/subscribers", (*Server).subscribers, "The subscribers that have a session", subscriberParameters, nil, Subscribers{}, nil},
	{"GET", "/v1/paths", (*Server).paths, "The MPTCP connections with their subflows", nil, nil, PathList{}, []int{501}},
	{"GET", "/v1/paths/events", (*Server).pathEvents, "What happens to them from now on, one JSON object per line", nil, nil, lines{PathEvent{}}, []int{501}},
	{"POST", "/v1/reload", (*Server).reload, "Reads the configuration again; with mistakes in it nothing changes", nil, nil, Reloaded{}, []int{409, 422}},
	{"POST", "/v1/upgrade", (*Server).upgrade, "Starts the program that is installed now, which takes over; connections stay until they end", nil, nil, Upgraded{}, []int{409, 500}},
	{"GET", "/v1/log-level", (*Server).logLevel, "The least serious level that is logged", nil, nil, LogLevel{}, nil},
	{"PUT", "/v1/log-level", (*Server).setLogLevel, "Changes the level until the next reload", nil, LogLevel{}, LogLevel{}, []int{422}},
	{"POST", "/v1/drain", (*Server).drain, "Stops to accept; the gateway ends when its connections have ended", drainParameters, nil, Drain{}, nil},
	{"GET", "/v1/openapi.json", (*Server).openAPI, "This document", nil, nil, nil, nil},
	{"GET", "/livez", (*Server).livez, "Whether everything that has to run does", nil, nil, Health{}, nil},
	{"GET", "/readyz", (*Server).readyz, "Whether new connections are served", nil, nil, Health{}, nil},
}

var drainParameters = []parameter{
	{name: "timeout", about: "how long connections may go on, such as 10m; drain-timeout of the configuration if not given"},
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, s.o.Gateway.Status())
}

func (s *Server) kick(w http.ResponseWriter, r *http.Request) error {
	id, err := connectionID(r)
	if err != nil {
		return err
	}
	if !s.o.Gateway.Kick(id) {
		return noConnection(r)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) error {
	done, err := s.o.Gateway.Reload()
	switch {
	case errors.Is(err, ErrDraining):
		return &Error{err.Error(), "", http.StatusConflict}
	case err != nil:
		return &Error{err.Error(), "the configuration from before stays in force", http.StatusUnprocessableEntity}
	}
	return answer(w, done)
}

func (s *Server) upgrade(w http.ResponseWriter, _ *http.Request) error {
	// To start the program may take longer than other answers.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	done, err := s.o.Gateway.Upgrade()
	switch {
	case errors.Is(err, ErrDraining):
		return &Error{err.Error(), "", http.StatusConflict}
	case err != nil:
		return &Error{err.Error(), "the process from before stays in charge; the log says more", http.StatusInternalServerError}
	}
	return answer(w, done)
}

func (s *Server) logLevel(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, LogLevel{s.o.Gateway.LogLevel()})
}

func (s *Server) setLogLevel(w http.ResponseWriter, r *http.Request) error {
	var want LogLevel
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	in.DisallowUnknownFields()
	if err := in.Decode(&want); err != nil {
		return badRequest("bad JSON: "+err.Error(), `want {"level": "debug"}`)
	}
	if err := s.o.Gateway.SetLogLevel(want.Level); err != nil {
		return &Error{err.Error(), "", http.StatusUnprocessableEntity}
	}
	return s.logLevel(w, r)
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) error {
	var timeout time.Duration
	if text := r.URL.Query().Get("timeout"); text != "" {
		var err error
		if timeout, err = time.ParseDuration(text); err != nil || timeout <= 0 {
			return badRequest("timeout: \""+text+"\"", "want a duration with a unit, such as 30s or 10m")
		}
	}
	return answer(w, s.o.Gateway.Drain(timeout))
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openAPI)
	return err
}

func (s *Server) livez(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), aliveTimeout)
	defer cancel()
	return health(w, s.o.Gateway.Alive(ctx))
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	return health(w, s.o.Gateway.Ready())
}

func health(w http.ResponseWriter, err error) error {
	if err != nil {
		return &Error{err.Error(), "", http.StatusServiceUnavailable}
	}
	return answer(w, Health{"ok"})
}
