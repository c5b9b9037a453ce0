// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/options"
)

// Changed tells what became of options of several connections. Each that
// matched is counted once more, in one of the other counters.
type Changed struct {
	// Matched is how many connections the filter has let pass.
	Matched int `json:"matched"`
	// Changed are those on which all that was chosen is in force; with dry_run, on
	// which it would have been chosen.
	Changed int `json:"changed"`
	// Unchanged are those that had nothing of what was to be taken back.
	Unchanged int `json:"unchanged"`
	// NotRelayed are those that are not relayed yet, or no longer: they stay as
	// they are.
	NotRelayed int `json:"not_relayed"`
	// Refused are those on which some of it is not in force, by reason.
	Refused map[string]int `json:"refused"`
}

// changeParameters are the filter, without a limit: half of them by chance is
// nothing to ask for.
var changeParameters = append(
	slices.DeleteFunc(slices.Clone(filterParameters), func(p parameter) bool { return p.name == "limit" }),
	parameter{name: "all", about: "true: all connections; needed where nothing else says which", kind: boolean},
	parameter{name: "dry_run", about: "true: change nothing, only say how many would be", kind: boolean},
)

// changeTimeout is how long a change of many connections may take.
const changeTimeout = time.Minute

func (s *Server) chooseAll(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, dryRun, err := parseSelection(q)
	if err != nil {
		return err
	}
	change, set, clear, err := readChange(w, r)
	if err != nil {
		return err
	}
	// Others are asked for a moment. The time to read the request is over, and
	// would end its context.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := control.SetWriteDeadline(time.Now().Add(changeTimeout)); err != nil {
		return err
	}
	done := Changed{Refused: map[string]int{}}
	var ids []uint64
	for c := range s.o.Gateway.Connections() {
		switch {
		case !f.matches(c):
			continue
		case c.Phase != relayed:
			done.NotRelayed++
		default:
			ids = append(ids, c.ID)
		}
		done.Matched++
	}
	if dryRun {
		done.Changed = len(ids)
		return answer(w, done)
	}
	all, err := s.o.Gateway.Choose(r.Context(), ids, set, clear)
	if err != nil {
		return err
	}
	for i := range all {
		done.count(&all[i], set)
	}
	s.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "operator has changed options of connections",
		slog.String("of", q.Encode()), slog.String("set", set.String()), slog.String("clear", strings.Join(change.Clear, ",")),
		slog.Int("matched", done.Matched), slog.Int("changed", done.Changed), slog.Int("unchanged", done.Unchanged),
		slog.Int("not_relayed", done.NotRelayed), slog.Any("refused", done.Refused))
	return answer(w, done)
}

// parseSelection reads which connections are meant, which has to be said, and
// whether they are only counted.
func parseSelection(q url.Values) (f Filter, dryRun bool, err error) {
	if f, err = parseFilter(q); err != nil {
		return f, false, err
	}
	all, err := parseBool(q, "all")
	if err != nil {
		return f, false, err
	}
	switch some := f != (Filter{}); {
	case all && some:
		return f, false, badRequest("all connections, or some?", "want all=true or a filter, not both")
	case !all && !some:
		return f, false, badRequest("of which connections?", "want listener, client, server, user, policy or token, or all=true")
	}
	dryRun, err = parseBool(q, "dry_run")
	return f, dryRun, err
}

// maxReasons bounds the reasons that are told apart.
const maxReasons = 32

// count counts what became of one connection.
func (c *Changed) count(one *Chosen, set options.Set) {
	why := notInForce(&one.Options, set)
	switch {
	case one.Err != nil:
		c.NotRelayed++
	case one.Unchanged:
		c.Unchanged++
	case why == "":
		c.Changed++
	default:
		if _, known := c.Refused[why]; !known && len(c.Refused) >= maxReasons {
			why = "other reasons"
		}
		c.Refused[why]++
	}
}

// notInForce says why some of a set is not in force, or "".
func notInForce(now *ConnectionOptions, set options.Set) string {
	var list []string
	for o := range set.All() {
		if why := now.NotInForce(o.String()); why != "" {
			list = append(list, why)
		}
	}
	return strings.Join(list, "; ")
}

// ChooseAll changes options of all connections that a filter lets pass, whose
// limit does not count, or with dryRun only says how many those are. All of them
// are meant by a filter that says nothing only if all is true.
func (c *Client) ChooseAll(ctx context.Context, f Filter, all, dryRun bool, change OptionChange) (Changed, error) {
	f.Limit = 0
	q := f.query()
	for name, value := range map[string]bool{"all": all, "dry_run": dryRun} {
		if value {
			q.Set(name, strconv.FormatBool(value))
		}
	}
	return ask[Changed](ctx, c, http.MethodPatch, "/v1/connections/options?"+q.Encode(), change)
}
