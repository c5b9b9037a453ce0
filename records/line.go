// SPDX-License-Identifier: Apache-2.0

package records

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// Line is a record as JSON has it. What is empty is left out.
type Line struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Protocol string    `json:"protocol"` // tcp or udp
	Listener string    `json:"listener"`
	User     string    `json:"user,omitempty"`
	Client   string    `json:"client"`           // address and port
	Host     string    `json:"host,omitempty"`   // the name that was asked for
	Server   string    `json:"server,omitempty"` // address and port
	Local    string    `json:"local,omitempty"`  // address and port that the server or upstream saw
	Upstream string    `json:"upstream,omitempty"`

	ClientMPTCP string `json:"client_mptcp"` // yes, or why not
	ServerMPTCP string `json:"server_mptcp,omitempty"`
	// Options that somebody chose, as in force, with what was asked instead and
	// why; and those that the next hop was asked for.
	Options    string `json:"options,omitempty"`
	AskedOfHop string `json:"asked_of_hop,omitempty"`

	Up    uint64 `json:"bytes_up"`
	Down  uint64 `json:"bytes_down"`
	Ended Ending `json:"ended"`
	// Networks are the bytes of payload by access network.
	Networks map[string]Octets `json:"access_networks,omitempty"`
	// Refused is why the client was not served.
	Refused string `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
	Trace   string `json:"trace_id,omitempty"`
}

// Octets are bytes in both directions.
type Octets struct {
	Up   uint64 `json:"up"`
	Down uint64 `json:"down"`
}

// Ending is how a connection ended.
type Ending string

// The endings.
const (
	Complete Ending = "complete" // both streams had ended
	Idle     Ending = "idle"     // it was idle for too long
	Forced   Ending = "forced"   // by the operator
	Scarce   Ending = "scarce"   // for want of something on this host
	Broken   Ending = "broken"   // by one of the peers, or what is between
)

func endingOf(err error) Ending {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return Complete
	case is(relay.ErrIdle, relay.ErrHalfClosed):
		return Idle
	case is(proxy.ErrKicked, proxy.ErrShutdown):
		return Forced
	case is(unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL):
		return Scarce
	}
	return Broken
}

// lineEncoder makes lines of records as encoding/json makes them of a Line. It is
// written out because a busy gateway ends ten thousand connections per second:
// this takes a tenth of what reflection does, and leaves no garbage.
type lineEncoder struct {
	start, end         stamp
	listener, upstream quoted
}

// append appends a record, and a newline.
func (l *lineEncoder) append(b []byte, e *entry) []byte {
	r := &e.record
	b = append(b, `{"start":"`...)
	b = l.start.append(b, r.Start)
	b = append(b, `","end":"`...)
	b = l.end.append(b, r.Start.Add(r.Duration))
	if r.Command == proxy.Associate {
		b = append(b, `","protocol":"udp","listener":`...)
	} else {
		b = append(b, `","protocol":"tcp","listener":`...)
	}
	b = l.listener.append(b, r.Listener)
	b = appendGiven(b, `,"user":`, r.User)
	b = appendAddrPort(append(b, `,"client":`...), r.Client)
	b = appendGiven(b, `,"host":`, r.Host)
	b = appendKnown(b, `,"server":`, r.Server)
	b = appendKnown(b, `,"local":`, r.Local)
	if r.Hop != "" {
		b = l.upstream.append(append(b, `,"upstream":`...), r.Hop)
	}
	b = append(append(b, `,"client_mptcp":"`...), spoken(r.ClientMPTCP)...)
	if r.ServerMPTCP != (mptcp.Status{}) {
		b = append(append(b, `","server_mptcp":"`...), spoken(r.ServerMPTCP)...)
	}
	b = append(b, '"')
	if !r.Options.Empty() {
		b = appendGiven(b, `,"options":`, r.Options.String())
	}
	if r.HopChoice != nil {
		b = appendGiven(b, `,"asked_of_hop":`, r.HopChoice.Asked.String())
	}
	b = strconv.AppendUint(append(b, `,"bytes_up":`...), r.Up, 10)
	b = strconv.AppendUint(append(b, `,"bytes_down":`...), r.Down, 10)
	b = append(append(append(b, `,"ended":"`...), endingOf(r.Err)...), '"')
	b = appendNetworks(b, r.Networks)
	if !r.Served {
		b = appendGiven(b, `,"refused":`, r.Refused.String())
	}
	if r.Err != nil {
		b = appendGiven(b, `,"error":`, r.Err.Error())
	}
	b = appendGiven(b, `,"trace_id":`, e.trace)
	return append(b, '}', '\n')
}

// appendNetworks appends the bytes of access networks, in the order of their names.
func appendNetworks(b []byte, networks []proxy.NetworkBytes) []byte {
	if len(networks) == 0 {
		return b
	}
	networks = slices.SortedFunc(slices.Values(networks), func(a, b proxy.NetworkBytes) int { return cmp.Compare(a.Name, b.Name) })
	b = append(b, `,"access_networks":`...)
	for i, n := range networks {
		b = append(b, "{,"[min(i, 1)])
		b = appendString(b, n.Name)
		b = strconv.AppendUint(append(b, `:{"up":`...), n.Up, 10)
		b = strconv.AppendUint(append(b, `,"down":`...), n.Down, 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

func spoken(s mptcp.Status) string {
	if s.MPTCP {
		return "yes"
	}
	return s.Reason.String()
}
