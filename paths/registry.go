// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Settings are the parameters of all managers; each takes its own and ignores
// the others.
type Settings struct {
	Subflows int              // ndiffports: how many, at least 1; 0 is 2
	Announce []netip.AddrPort // fullmesh: addresses that peers of accepted connections are told of
	MaxAge   time.Duration    // refreshing: of a subflow; 0 is none
	Bytes    uint64           // delaying: both ways
	After    time.Duration    // delaying
	Below    float64          // delaying: bit/s
	// Then is the name of the manager that refreshing and delaying work on;
	// empty is their default.
	Then string
}

// managers has one line for each.
var managers = map[string]func(Settings, Manager) (Manager, error){
	"kernel":     func(Settings, Manager) (Manager, error) { return Kernel{}, nil },
	"default":    func(Settings, Manager) (Manager, error) { return Default{}, nil },
	"ndiffports": newNDiffPorts,
	"fullmesh":   func(s Settings, _ Manager) (Manager, error) { return FullMesh{Announce: s.Announce}, nil },
	"refreshing": func(s Settings, m Manager) (Manager, error) { return Refreshing{Over: m, MaxAge: s.MaxAge}, nil },
	"delaying":   newDelaying,
}

// Named makes a manager. The error says which name or setting is wrong.
func Named(name string, s Settings) (Manager, error) {
	make, ok := managers[name]
	if !ok {
		return nil, fmt.Errorf("unknown path manager %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	var then Manager
	if s.Then != "" && (name == "refreshing" || name == "delaying") {
		inner := s
		inner.Then = ""
		if s.Then == name {
			return nil, fmt.Errorf("path manager %s: it cannot work on itself", name)
		}
		var err error
		if then, err = Named(s.Then, inner); err != nil {
			return nil, fmt.Errorf("path manager %s: %w", name, err)
		}
	}
	m, err := make(s, then)
	if err != nil {
		return nil, fmt.Errorf("path manager %s: %w", name, err)
	}
	return m, nil
}

// Names are the names that Named takes, in order.
func Names() []string { return slices.Sorted(maps.Keys(managers)) }

func newNDiffPorts(s Settings, _ Manager) (Manager, error) {
	if s.Subflows < 0 {
		return nil, fmt.Errorf("%d subflows: want at least 1", s.Subflows)
	}
	if s.Subflows == 0 {
		s.Subflows = 2
	}
	return NDiffPorts{N: s.Subflows}, nil
}

var errNoCondition = errors.New("no condition: set bytes, after or below")

func newDelaying(s Settings, then Manager) (Manager, error) {
	if s.Bytes == 0 && s.After <= 0 && s.Below <= 0 {
		return nil, errNoCondition
	}
	return Delaying{Then: then, Bytes: s.Bytes, After: s.After, Below: s.Below}, nil
}
