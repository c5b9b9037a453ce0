// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/tandem-gateway/tandem/options"
)

// ConnectionOptions are the options of a connection that somebody has chosen;
// see docs/options.md.
type ConnectionOptions struct {
	// Options that somebody chose.
	Options []ConnectionOption `json:"options"`
	// Mistakes of the client that could not be understood.
	Mistakes []OptionMistake `json:"mistakes,omitempty"`
	// MoreMistakes are only counted.
	MoreMistakes int `json:"more_mistakes,omitempty"`
}

// ConnectionOption is what became of an option of a connection.
type ConnectionOption struct {
	// Option is its name.
	Option string `json:"option"`
	// Value in force; default is the kernel's own.
	Value string `json:"value"`
	// Asked is what the client asked for; not there if it did not ask.
	Asked string `json:"asked,omitempty"`
	// By is who chose the value: kernel, listener, subscriber, syn, tcp-option,
	// convert, socks or operator.
	By string `json:"by"`
	// Why it is in force: default, as asked, capped, raised, forbidden, untrusted,
	// out of range or unsupported.
	Why string `json:"why"`
	// Detail says more about why.
	Detail string `json:"detail,omitempty"`
}

// OptionMistake is a part of a client's request that could not be understood.
type OptionMistake struct {
	// Text is what was sent, quoted and cut.
	Text string `json:"text"`
	// Why is unknown, out of range or malformed.
	Why string `json:"why"`
	// Detail says more.
	Detail string `json:"detail"`
}

// HopOptions are what the hop was asked for, by option.
type HopOptions struct {
	// By is how: convert, socks or tcp-option.
	By string `json:"by"`
	// Asked is what for.
	Asked map[string]string `json:"asked"`
	// Answered is whether the hop has told what it grants; SOCKS5 servers cannot.
	Answered bool `json:"answered"`
	// Granted is what it grants. What it refuses is not there.
	Granted map[string]string `json:"granted,omitempty"`
}

// OptionCounter counts what clients asked for.
type OptionCounter struct {
	// Option is its name, or unknown.
	Option string `json:"option"`
	// Asked is how often.
	Asked uint64 `json:"asked"`
	// Outcomes of that by why: as asked, capped and so on.
	Outcomes map[string]uint64 `json:"outcomes"`
}

// OptionChange is what an operator chooses for a connection.
type OptionChange struct {
	// Set are values by option. They replace what operators chose before.
	Set map[string]string `json:"set,omitempty"`
	// Clear are options that go back to what listener, subscriber and client have
	// chosen.
	Clear []string `json:"clear,omitempty"`
}

// Errors of Chosen.
var (
	ErrNoConnection = errors.New("there is no such connection")
	ErrNotRelayed   = errors.New("the connection is not relayed yet, or no longer")
)

// Chosen is what an operator's choice has come to on a connection.
type Chosen struct {
	ID        uint64
	Options   ConnectionOptions // in force then
	Unchanged bool              // there was nothing to take back
	Err       error             // ErrNoConnection or ErrNotRelayed
}

// parse reads a change that an operator may ask for.
func (c *OptionChange) parse() (set options.Set, clear []options.Option, err error) {
	for name, text := range c.Set {
		o, err := options.Named(name)
		if err != nil {
			return set, nil, &Error{strconv.Quote(name) + ": " + err.Error(), "", http.StatusUnprocessableEntity}
		}
		v, err := o.Parse(text)
		if err != nil {
			return set, nil, &Error{name + ": " + err.Error(), "", http.StatusUnprocessableEntity}
		}
		if set, err = set.With(o, v); err != nil {
			return set, nil, err
		}
	}
	for _, name := range c.Clear {
		o, err := options.Named(name)
		switch {
		case err != nil:
			return set, nil, &Error{strconv.Quote(name) + ": " + err.Error(), "", http.StatusUnprocessableEntity}
		case set.Has(o):
			return set, nil, &Error{name + " is to be set and to be taken back", "want one of both", http.StatusUnprocessableEntity}
		}
		clear = append(clear, o)
	}
	if set.Empty() && len(clear) == 0 {
		return set, nil, badRequest("no option is named", `want {"set": {"scheduler": "primary"}} or {"clear": ["scheduler"]}`)
	}
	if err := options.CheckOwn(set); err != nil {
		return set, nil, &Error{err.Error(), "", http.StatusUnprocessableEntity}
	}
	return set, clear, nil
}

func (s *Server) choose(w http.ResponseWriter, r *http.Request) error {
	id, err := connectionID(r)
	if err != nil {
		return err
	}
	_, set, clear, err := readChange(w, r)
	if err != nil {
		return err
	}
	all, err := s.o.Gateway.Choose(r.Context(), []uint64{id}, set, clear)
	if err != nil {
		return err
	}
	switch err := all[0].Err; {
	case errors.Is(err, ErrNoConnection):
		return noConnection(r)
	case errors.Is(err, ErrNotRelayed):
		return &Error{err.Error(), "", http.StatusConflict}
	}
	return answer(w, all[0].Options)
}

// readChange reads a change, and what it says is to be set and taken back.
func readChange(w http.ResponseWriter, r *http.Request) (change OptionChange, set options.Set, clear []options.Option, err error) {
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	in.DisallowUnknownFields()
	if err := in.Decode(&change); err != nil {
		return change, set, nil, badRequest("bad JSON: "+err.Error(), `want {"set": {"scheduler": "primary"}, "clear": ["delay-threshold"]}`)
	}
	set, clear, err = change.parse()
	return change, set, clear, err
}

// connectionID is that of a path.
func connectionID(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, badRequest("\""+r.PathValue("id")+"\" is no connection", "want the id of a connection, a number")
	}
	return id, nil
}

func noConnection(r *http.Request) *Error {
	return &Error{"there is no connection " + r.PathValue("id"), "it may have ended", http.StatusNotFound}
}

// Choose changes options of a connection and returns those in force then.
func (c *Client) Choose(ctx context.Context, id uint64, change OptionChange) (ConnectionOptions, error) {
	return ask[ConnectionOptions](ctx, c, http.MethodPatch, "/v1/connections/"+strconv.FormatUint(id, 10)+"/options", change)
}

// OptionsOf describes what was granted to a connection; nil for nothing.
func OptionsOf(g *options.Grants) *ConnectionOptions {
	if g.Empty() {
		return nil
	}
	c := &ConnectionOptions{Options: make([]ConnectionOption, 0, len(g.List)), MoreMistakes: g.More}
	for i := range g.List {
		one := &g.List[i]
		out := ConnectionOption{
			Option: one.Option.String(), Value: one.Option.Text(one.Granted), By: one.From.String(), Why: one.Why.String(), Detail: one.Detail,
		}
		if one.ByClient {
			out.Asked = one.Option.Text(one.Asked)
		}
		c.Options = append(c.Options, out)
	}
	for _, b := range g.Bad {
		c.Mistakes = append(c.Mistakes, OptionMistake{Text: b.Text, Why: b.Why.String(), Detail: b.Detail})
	}
	return c
}

// Of returns what became of an option, nil if nobody chose it.
func (c *ConnectionOptions) Of(name string) *ConnectionOption {
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(c.Options, func(o ConnectionOption) bool { return o.Option == name })
	if i < 0 {
		return nil
	}
	return &c.Options[i]
}

// NotInForce says why an option that was chosen is not in force, or "".
func (c *ConnectionOptions) NotInForce(name string) string {
	got := c.Of(name)
	switch {
	case got != nil && got.Why != options.Unsupported.String():
		return ""
	case got == nil || got.Detail == "":
		return name + " is not in force"
	}
	return name + " is not in force: " + got.Detail
}
