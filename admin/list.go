// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// list writes a JSON object whose first key is a list, an item at a time: there
// may be very many, and one that reads slowly must not pile them up.
type list struct {
	w       *bufio.Writer
	json    *json.Encoder
	control *http.ResponseController
	n       int
}

// beginList begins an object with a list under a key.
func beginList(w http.ResponseWriter, key string) *list {
	w.Header().Set("Content-Type", jsonType)
	l := &list{w: bufio.NewWriterSize(w, 32<<10), control: http.NewResponseController(w)}
	l.json = json.NewEncoder(l.w)
	_, _ = io.WriteString(l.w, `{"`+key+`":[`)
	return l
}

// add writes an item. Errors are those of the reader, who has gone.
func (l *list) add(item any) error {
	if l.n%256 == 0 {
		if err := l.control.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
	}
	if l.n++; l.n > 1 {
		if err := l.w.WriteByte(','); err != nil {
			return err
		}
	}
	return l.json.Encode(item)
}

// end writes what follows the list.
func (l *list) end(rest string) error {
	_, _ = io.WriteString(l.w, "]"+rest+"}\n")
	return l.w.Flush()
}

func (s *Server) connections(w http.ResponseWriter, r *http.Request) error {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	return listUpTo(w, r, "connections", f.Limit, s.o.Gateway.Connections(), f.matches)
}

// errNoPaths is for gateways that do not know subflows.
var errNoPaths = &Error{"nobody watches the subflows of connections here", "", http.StatusNotImplemented}

func (s *Server) paths(w http.ResponseWriter, _ *http.Request) error {
	if s.o.Paths == nil {
		return errNoPaths
	}
	all, err := s.o.Paths.Paths()
	if err != nil {
		return err
	}
	out := beginList(w, "connections")
	for i := range all {
		if err := out.add(&all[i]); err != nil {
			return err
		}
	}
	return out.end("")
}

// pathEvents writes events as they come, until the reader or the server goes.
func (s *Server) pathEvents(w http.ResponseWriter, r *http.Request) error {
	if s.o.Paths == nil {
		return errNoPaths
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	events, err := s.o.Paths.PathEvents(ctx)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", linesType)
	control, out := http.NewResponseController(w), json.NewEncoder(w)
	// The time to read the request is over, and would end ctx.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	// The headers say that events are being listened to.
	if err := control.Flush(); err != nil {
		return err
	}
	for event := range events {
		if err := control.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
		if err := out.Encode(event); err != nil {
			return err
		}
		if err := control.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// readList is the reverse: it visits the items of the list under the first key
// and returns the object's decoder at what follows.
func readList[T any](in *json.Decoder, visit func(*T) error) error {
	for range 3 { // {, the key, [
		if _, err := in.Token(); err != nil {
			return err
		}
	}
	for in.More() {
		item := new(T)
		if err := in.Decode(item); err != nil {
			return err
		}
		if err := visit(item); err != nil {
			return err
		}
	}
	_, err := in.Token() // ]
	return err
}
