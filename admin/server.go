// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	jsonType  = "application/json"
	linesType = "application/x-ndjson" // one JSON object per line
	// writePatience is how long one who asked may take to read the next part of
	// the answer.
	writePatience = 30 * time.Second
	// aliveTimeout is how long event loops may take to show that they run.
	aliveTimeout = 2 * time.Second
	// maxBody bounds the bodies of requests, maxBusy those of operators that are
	// being answered, and maxGuests those of whoever else may read.
	maxBody   = 64 << 10
	maxBusy   = 64
	maxGuests = 32
)

// Options of a Server.
type Options struct {
	Gateway Gateway
	Paths   PathSource   // nil: nobody knows subflows
	Page    http.Handler // of GET /, and of /page/ what it needs; nil: none
	Log     *slog.Logger // nil: slog.Default
}

// Server answers operators.
type Server struct {
	o    Options
	mux  *http.ServeMux
	http *http.Server
	// One for each request being answered. Guests, who are every process of this
	// machine where Access lets them read, must not keep operators out.
	busy, guests chan struct{}

	mu     sync.Mutex
	remote []*http.Server // those that serve TCP

	closing context.Context // ends with Close: answers without an end do too
	close   context.CancelFunc
}

// NewServer returns a server that has yet to Serve.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Server{o: o, mux: http.NewServeMux(), busy: make(chan struct{}, maxBusy), guests: make(chan struct{}, maxGuests)}
	s.closing, s.close = context.WithCancel(context.Background())
	for _, r := range routes {
		s.mux.HandleFunc(r.method+" "+r.path, s.handler(r))
	}
	if o.Page != nil {
		s.mux.Handle("GET /{$}", o.Page)
		s.mux.Handle("GET /page/", o.Page)
	}
	s.mux.HandleFunc("/", s.unknown)
	s.http = s.newHTTP(s.mux)
	return s
}

// newHTTP returns what serves a listener.
func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writePatience,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
}

// Serve answers on l, which it closes in the end, until Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Leave ends the connections of operators with the answer that is under way, or
// the next, so that they come to another process that listens.
func (s *Server) Leave() {
	for _, h := range s.servers() {
		h.SetKeepAlivesEnabled(false)
	}
}

// servers are those of the socket and of TCP.
func (s *Server) servers() []*http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Server{s.http}, s.remote...)
}

// Close stops to serve. Requests that are being answered may go on until ctx
// ends.
func (s *Server) Close(ctx context.Context) error {
	s.close() // before the list is taken: who comes later serves nothing
	var failed []error
	for _, h := range s.servers() {
		if h.Shutdown(ctx) != nil {
			failed = append(failed, h.Close())
		}
	}
	return errors.Join(failed...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// handler serves a route.
func (s *Server) handler(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		busy := s.busy
		if p, remote := r.Context().Value(peerKey{}).(remotePeer); remote && p.who == "" {
			busy = s.guests
		}
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		default:
			fail(w, &Error{"too many requests at once", "ask again later", http.StatusServiceUnavailable})
			return
		}
		begun := &begun{ResponseWriter: w}
		err := known(r, rt.parameters)
		if err == nil {
			err = rt.serve(s, begun, r)
		}
		if rt.method != http.MethodGet {
			s.note(r, err)
		}
		switch {
		case err == nil:
		case begun.yes:
			panic(http.ErrAbortHandler) // so that the answer is seen not to be whole
		default:
			fail(w, err)
		}
	}
}

// note logs that somebody has changed something, or has tried to.
func (s *Server) note(r *http.Request, err error) {
	attrs := []slog.Attr{slog.String("request", r.Method+" "+r.URL.RequestURI())}
	switch c := r.Context().Value(peerKey{}).(type) {
	case *unix.Ucred:
		attrs = append(attrs, slog.Any("uid", c.Uid), slog.Any("pid", c.Pid))
	case remotePeer:
		attrs = append(attrs, slog.String("by", c.who), slog.String("from", c.address))
	}
	var e *Error
	if errors.As(err, &e) {
		attrs = append(attrs, slog.String("err", e.Message)) // the hint is for who has asked
	} else if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	s.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "operator's request", attrs...)
}

// begun knows whether an answer has begun.
type begun struct {
	http.ResponseWriter
	yes bool
}

func (b *begun) WriteHeader(status int) {
	b.yes = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// unknown answers what no route does.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			methods = append(methods, method)
		}
	}
	if len(methods) == 0 {
		fail(w, &Error{"there is no " + r.URL.Path, "GET /v1/openapi.json lists what there is", http.StatusNotFound})
		return
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	fail(w, &Error{r.URL.Path + " does not take " + r.Method, "want " + strings.Join(methods, " or "), http.StatusMethodNotAllowed})
}

// known refuses queries with parameters that the route does not have.
func known(r *http.Request, parameters []parameter) error {
	var names []string
	for _, p := range parameters {
		names = append(names, p.name)
	}
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			hint := "want none"
			if len(names) > 0 {
				hint = "want one of " + strings.Join(names, ", ")
			}
			return badRequest("unknown parameter \""+name+"\"", hint)
		}
	}
	return nil
}

func badRequest(message, hint string) *Error { return &Error{message, hint, http.StatusBadRequest} }

// answer writes a value.
func answer(w http.ResponseWriter, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", jsonType)
	_, err = w.Write(append(b, '\n'))
	return err
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{err.Error(), "", http.StatusInternalServerError}
	}
	b, _ := json.Marshal(e)
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(e.Status)
	_, _ = w.Write(append(b, '\n'))
}

// peerKey is that of the credentials of a connection's far end.
type peerKey struct{}

// withPeer notes who is at the other end of a unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred)
}
