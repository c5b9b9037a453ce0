// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-gateway/tandem/mptcp/pm"
)

var (
	now      = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wifi     = netip.MustParseAddr("198.51.100.2")
	cell     = netip.MustParseAddr("198.51.100.130")
	cell6    = netip.MustParseAddr("2001:db8:e::2")
	server   = netip.MustParseAddrPort("192.0.2.1:443")
	second   = netip.MustParseAddrPort("192.0.2.2:443")
	server6  = netip.MustParseAddrPort("[2001:db8:a::1]:443")
	overWiFi = Path{wifi, server}
	overCell = Path{cell, server}
	all      = []Path{overWiFi, overCell, {wifi, second}, {cell, second}, {cell6, server6}}
)

// live is an established subflow of an age.
func live(p Path, age time.Duration) Subflow {
	return Subflow{Path: p, Port: 1, State: Established, Since: now.Add(-age)}
}

// lost is one without a route.
func lost(p Path) Subflow {
	s := live(p, time.Minute)
	s.Lost = true
	return s
}

func asked(p Path) Subflow { return Subflow{Path: p, State: Waiting, Since: now} }

// view is of a connection that this end opened over wifi a minute ago.
func view(paths []Path, subflows ...Subflow) *Connection {
	return &Connection{
		Initiator: true, Now: now, Begun: now.Add(-time.Minute), First: overWiFi,
		Paths: paths, Subflows: subflows, Remotes: []Remote{{0, server}},
	}
}

func with(c *Connection, change func(*Connection)) *Connection {
	change(c)
	return c
}

func accepted(c *Connection) *Connection {
	return with(c, func(c *Connection) { c.Initiator = false })
}

type managerTest struct {
	name string
	m    Manager
	tell func(Manager, *Connection) []Action
	c    *Connection
	want []Action
}

func begins(m Manager, c *Connection) []Action       { return m.Established(c) }
func pathsChanged(m Manager, c *Connection) []Action { return m.PathsChanged(c) }
func due(m Manager, c *Connection) []Action          { return m.Due(c) }
func opened(s Subflow) func(Manager, *Connection) []Action {
	return func(m Manager, c *Connection) []Action { return m.SubflowOpened(c, s) }
}
func closed(s Subflow) func(Manager, *Connection) []Action {
	return func(m Manager, c *Connection) []Action { return m.SubflowClosed(c, s) }
}

func open(paths ...Path) (actions []Action) {
	for _, p := range paths {
		actions = append(actions, Open{Path: p})
	}
	return actions
}

func (tt *managerTest) run(t *testing.T) {
	before := *tt.c
	before.Subflows = slices.Clone(tt.c.Subflows)
	got := tt.tell(tt.m, tt.c)
	if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Subflow{}), compare); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&before, tt.c, cmpopts.IgnoreUnexported(Subflow{}), compare); diff != "" {
		t.Errorf("the manager changed the connection:\n%s", diff)
	}
}

var compare cmp.Option = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func init() {
	compare = cmp.Options{compare, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
}

func TestManagers(t *testing.T) {
	first, other := live(overWiFi, time.Minute), live(overCell, time.Minute)
	old := live(overWiFi, 2*time.Minute)
	subflow := pm.Endpoint{ID: 1, Addr: cell, Flags: pm.Subflow}
	backup := pm.Endpoint{ID: 1, Addr: cell, Flags: pm.Subflow | pm.Backup}
	full := pm.Endpoint{ID: 1, Addr: cell, Flags: pm.Subflow | pm.Fullmesh}
	signal := pm.Endpoint{ID: 2, Addr: wifi, Port: 444, Flags: pm.Signal}
	kernel := func(c *Connection, limit uint32, endpoints ...pm.Endpoint) *Connection {
		c.Endpoints, c.Limits = endpoints, pm.Limits{Subflows: limit, AddAddrAccepted: 1}
		return c
	}
	moved := func(n uint64) func(*Connection) { return func(c *Connection) { c.Bytes = n } }
	rate := func(r float64) func(*Connection) { return func(c *Connection) { c.Rate = r } }
	lots := Delaying{Bytes: 1000}

	for _, tt := range []managerTest{
		{"default opens nothing", Default{}, begins, view(all, first), nil},
		{"default restores nothing", Default{}, closed(other), view(all), nil},

		{"ndiffports opens the others", NDiffPorts{N: 3}, begins, view(all, first), open(overWiFi, overWiFi)},
		{"ndiffports counts those it waits for", NDiffPorts{N: 3}, begins, view(all, first, asked(overWiFi)), open(overWiFi)},
		{"ndiffports has enough", NDiffPorts{N: 2}, begins, view(all, first, first, first), nil},
		{"ndiffports restores", NDiffPorts{N: 2}, closed(first), view(all, first), open(overWiFi)},
		{"ndiffports leaves it to the initiator", NDiffPorts{N: 2}, begins, accepted(view(all, first)), nil},
		{"ndiffports moves", NDiffPorts{N: 2}, pathsChanged, view(all[1:2], lost(overWiFi)), open(overCell, overCell)},
		{"ndiffports has moved", NDiffPorts{N: 2}, pathsChanged, view(all[1:2], lost(overWiFi), other, asked(overCell)),
			[]Action{Close{Subflow: lost(overWiFi), Cause: PathLost}}},
		{"ndiffports has nowhere to go", NDiffPorts{N: 2}, closed(first), view(nil), nil},

		{"fullmesh opens", FullMesh{}, begins, view(all, first), open(all[1:]...)},
		{"fullmesh restores", FullMesh{}, closed(other), view(all[:2], first), open(overCell)},
		{"fullmesh is complete", FullMesh{}, begins, view(all[:2], first, asked(overCell)), nil},
		{"fullmesh follows addresses", FullMesh{}, pathsChanged, view(all[:1], first, lost(overCell)), []Action{Close{Subflow: lost(overCell), Cause: PathLost}}},
		{"fullmesh keeps what is left", FullMesh{}, pathsChanged, view(nil, lost(overWiFi), lost(overCell)), nil},
		{"fullmesh announces", FullMesh{Announce: []netip.AddrPort{second}}, begins, accepted(view(all, first)), []Action{Announce{second}}},
		{"fullmesh closes nothing of the peer", FullMesh{}, pathsChanged, accepted(view(nil, lost(overWiFi))), nil},
		{"fullmesh keeps what never had a route", FullMesh{}, pathsChanged, view(all[1:2], first), open(overCell)},

		{"refreshing restores at once", Refreshing{}, closed(first), view(all), open(overWiFi)},
		{"refreshing counts the age", Refreshing{MaxAge: time.Hour}, begins, view(all, first), []Action{Wake{time.Hour}}},
		{"refreshing finds nothing old", Refreshing{MaxAge: time.Hour}, due, view(all, first), nil},
		{"refreshing opens a successor", Refreshing{MaxAge: time.Minute}, due, view(all, old), open(overWiFi)},
		{"refreshing opens one successor", Refreshing{MaxAge: time.Minute}, due, view(all, old, asked(overWiFi)), nil},
		{"refreshing opens one for each", Refreshing{MaxAge: time.Minute, Over: NDiffPorts{N: 2}}, due, view(all, old, old), open(overWiFi, overWiFi)},
		{"refreshing closes what is replaced", Refreshing{MaxAge: time.Minute}, opened(live(overWiFi, 0)), view(all, old, live(overWiFi, 0)),
			[]Action{Wake{time.Minute}, Close{Subflow: old, Cause: Replaced}}},
		{"refreshing tries a successor again", Refreshing{MaxAge: time.Minute}, closed(asked(overWiFi)), view(all, old), open(overWiFi)},
		{"refreshing a mesh", Refreshing{Over: FullMesh{}}, begins, view(all[:2], first), open(overCell)},
		{"refreshing moves", Refreshing{}, pathsChanged, view(all[1:2]), open(overCell)},

		{"delaying waits for bytes", lots, begins, view(all, first), []Action{Watch{1000}}},
		{"delaying has not moved enough", lots, due, with(view(all, first), moved(999)), nil},
		{"delaying has moved enough", lots, due, with(view(all[:2], first), moved(1000)), open(overCell)},
		{"delaying follows no addresses yet", lots, pathsChanged, view(all, first), nil},
		{"delaying restores at once what was lost", lots, closed(first), view(all[:1]), open(overWiFi)},
		{"delaying goes on with two", lots, closed(other), with(view(all[:2], first), func(c *Connection) { c.Extra = 1 }), open(overCell)},
		{"delaying waits for time", Delaying{After: 90 * time.Second}, begins, view(all, first), []Action{Wake{30 * time.Second}}},
		{"delaying has waited", Delaying{After: time.Minute}, due, view(all[:2], first), open(overCell)},
		{"delaying measures", Delaying{Below: 1e6}, begins, view(all, first), []Action{Wake{time.Second}}},
		{"delaying measures idleness", Delaying{Below: 1e6}, due, view(all, first), []Action{Wake{time.Second}}},
		{"delaying measures enough", Delaying{Below: 1e6}, due, with(view(all, first), rate(2e6)), []Action{Wake{time.Second}}},
		{"delaying measures too little", Delaying{Below: 1e6}, due, with(view(all[:2], first), rate(5e5)), append(open(overCell), Wake{time.Second})},
		{"delaying what else", Delaying{Bytes: 1, Then: NDiffPorts{N: 2}}, due, with(view(all, first), moved(1)), open(overWiFi)},

		{"kernel without endpoints", Kernel{}, begins, kernel(view(all, first), 8), nil},
		{"kernel opens from an endpoint", Kernel{}, begins, kernel(view(all, first), 8, subflow), open(overCell)},
		{"kernel opens a backup", Kernel{}, begins, kernel(view(all, first), 8, backup), []Action{Open{Path: overCell, Backup: true}}},
		{"kernel keeps to the limit", Kernel{}, begins, kernel(view(all, first), 0, subflow), nil},
		{"kernel announces", Kernel{}, begins, kernel(view(all, first), 8, signal), []Action{Announce{netip.AddrPortFrom(wifi, 444)}}},
		{"kernel restores", Kernel{}, closed(other), kernel(view(all, first), 8, subflow), open(overCell)},
		{"kernel restores the first", Kernel{}, closed(first), kernel(view(all, other), 8, subflow), open(overWiFi)},
		{"kernel answers an announcement", Kernel{}, pathsChanged,
			kernel(with(view(all, first), func(c *Connection) { c.Remotes = append(c.Remotes, Remote{3, second}) }), 8),
			open(Path{wifi, second})},
		{"kernel answers from all", Kernel{}, pathsChanged,
			kernel(with(view(all, first, other), func(c *Connection) { c.Remotes = append(c.Remotes, Remote{3, second}, Remote{4, server6}) }), 8, full),
			open(Path{cell, second})},
	} {
		t.Run(tt.name, tt.run)
	}
}

func TestNamed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings Settings
		want     Manager
		err      string
	}{
		{name: "default", want: Default{}},
		{name: "kernel", want: Kernel{}},
		{name: "ndiffports", want: NDiffPorts{N: 2}},
		{name: "ndiffports", settings: Settings{Subflows: -1}, err: "path manager ndiffports: -1 subflows: want at least 1"},
		{name: "fullmesh", settings: Settings{Announce: []netip.AddrPort{second}}, want: FullMesh{Announce: []netip.AddrPort{second}}},
		{name: "refreshing", settings: Settings{MaxAge: time.Minute, Then: "ndiffports", Subflows: 3}, want: Refreshing{MaxAge: time.Minute, Over: NDiffPorts{N: 3}}},
		{name: "delaying", settings: Settings{Bytes: 5}, want: Delaying{Bytes: 5}},
		{name: "delaying", err: "path manager delaying: no condition: set bytes, after or below"},
		{name: "delaying", settings: Settings{Bytes: 5, Then: "delaying"}, err: "path manager delaying: it cannot work on itself"},
		{name: "refreshing", settings: Settings{Then: "x"}, err: `path manager refreshing: unknown path manager "x": want one of default, delaying, fullmesh, kernel, ndiffports, refreshing`},
		{name: "full", err: `unknown path manager "full": want one of default, delaying, fullmesh, kernel, ndiffports, refreshing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Named(tt.name, tt.settings)
			if err != nil && err.Error() != tt.err || err == nil && tt.err != "" {
				t.Fatalf("error %v, want %s", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, m, compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
