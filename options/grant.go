// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"slices"
	"strings"
)

// Why is the reason for what was granted.
type Why uint8

// The reasons. Those from Forbidden on are refusals: what was asked is not in
// force.
const (
	ByDefault   Why = iota // nobody asked
	AsAsked                // what was asked is in force
	Capped                 // more was asked than may be
	Raised                 // less was asked than can work
	Forbidden              // the operator does not allow it
	Untrusted              // the client is not trusted with it
	Unknown                // there is no such option
	OutOfRange             // the option cannot have that value
	Malformed              // it could not be read
	Unsupported            // this kernel, or the peer, cannot do it
	TooOften               // asked more often than is listened to

	// NumWhys is how many reasons there are.
	NumWhys = int(TooOften) + 1
)

var whyNames = [...]string{
	"default", "as asked", "capped", "raised", "forbidden", "untrusted", "unknown", "out of range", "malformed", "unsupported", "too often",
}

func (w Why) String() string {
	if int(w) < len(whyNames) {
		return whyNames[w]
	}
	return fmt.Sprintf("reason %d", uint8(w))
}

// Refused reports whether what was asked is not in force at all.
func (w Why) Refused() bool { return w >= Forbidden }

// Grant is what became of one option of a connection.
type Grant struct {
	Option   Option
	ByClient bool  // the client asked
	Asked    Value // what for
	Granted  Value // what is in force; Option.Default is the kernel's own
	From     Source
	Why      Why
	Detail   string // more about why
}

// String is "scheduler=primary (as asked, by socks)".
func (g *Grant) String() string {
	text := fmt.Sprintf("%s=%s (", g.Option, g.Option.Text(g.Granted))
	if g.ByClient && g.Asked != g.Granted {
		text += fmt.Sprintf("asked %s, ", g.Option.Text(g.Asked))
	}
	text += fmt.Sprintf("%s, by %s", g.Why, g.From)
	if g.Detail != "" {
		text += ": " + g.Detail
	}
	return text + ")"
}

// Grants is what became of all options of a connection.
type Grants struct {
	List []Grant // in the order of the options; those that nobody chose are not there
	Bad  []Bad   // what could not be understood
	More int     // further mistakes that are only counted
}

// Mistakes takes over those of the client's requests.
func (g *Grants) Mistakes(l *Layers) {
	g.Bad, g.More = nil, 0
	for i := range l.Client {
		g.Bad = append(g.Bad, l.Client[i].Bad...)
		g.More += l.Client[i].More
	}
}

// Empty reports whether nobody chose anything.
func (g *Grants) Empty() bool { return g == nil || len(g.List) == 0 && len(g.Bad) == 0 }

// Clone returns a copy that shares nothing that changes.
func (g *Grants) Clone() *Grants {
	return &Grants{List: slices.Clone(g.List), Bad: g.Bad, More: g.More}
}

// Granted is what is in force.
func (g *Grants) Granted() Set {
	var s Set
	for i := range g.List {
		s, _ = s.With(g.List[i].Option, g.List[i].Granted)
	}
	return s
}

// ToClient is what is granted of that which the client asked for: the answer
// that it gets.
func (g *Grants) ToClient() Set {
	var s Set
	for i := range g.List {
		if one := &g.List[i]; one.ByClient && !one.Why.Refused() {
			s, _ = s.With(one.Option, one.Granted)
		}
	}
	return s
}

// Refused counts what clients asked for and did not get, and what they got
// less of.
func (g *Grants) Refused() (refused, changed int) {
	refused = len(g.Bad) + g.More
	for i := range g.List {
		switch one := &g.List[i]; {
		case one.Why.Refused():
			refused++
		case one.Why == Capped || one.Why == Raised:
			changed++
		}
	}
	return refused, changed
}

// Reason is why an option could not be applied.
type Reason struct {
	Option Option
	Err    error
	// InForce says that it is in force nevertheless, and Err where it falls short.
	InForce bool
}

// Apply notes what could not be applied.
func (g *Grants) Apply(unsupported []Reason) {
	for _, r := range unsupported {
		for i := range g.List {
			switch one := &g.List[i]; {
			case one.Option != r.Option:
			case r.InForce:
				one.Detail = r.Err.Error()
			default:
				one.Granted, one.Why, one.Detail = one.Option.Default(), Unsupported, r.Err.Error()
			}
		}
	}
}

// String lists grants and mistakes, for logs.
func (g *Grants) String() string {
	var list []string
	for i := range g.List {
		list = append(list, g.List[i].String())
	}
	for _, b := range g.Bad {
		list = append(list, fmt.Sprintf("%s (%s: %s)", b.Text, b.Why, b.Detail))
	}
	if g.More > 0 {
		list = append(list, fmt.Sprintf("and %d more mistakes", g.More))
	}
	return strings.Join(list, "; ")
}
