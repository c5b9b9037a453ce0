// SPDX-License-Identifier: Apache-2.0

package records

import (
	"errors"
	"net/netip"
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

func lineOf(e *entry) Line {
	r := &e.record
	l := Line{
		Start: r.Start.UTC(), End: r.Start.Add(r.Duration).UTC(), Protocol: "tcp",
		Listener: r.Listener, User: r.User, Client: r.Client.String(), Host: r.Host,
		Server: addressText(r.Server), Local: addressText(r.Local), Upstream: r.Hop,
		ClientMPTCP: spoken(r.ClientMPTCP), Up: r.Up, Down: r.Down, Ended: endingOf(r.Err), Trace: e.trace,
	}
	if len(r.Networks) > 0 {
		l.Networks = make(map[string]Octets, len(r.Networks))
		for _, n := range r.Networks {
			l.Networks[n.Name] = Octets{n.Up, n.Down}
		}
	}
	if r.Command == proxy.Associate {
		l.Protocol = "udp"
	}
	if r.Hop != "" {
		l.ServerMPTCP = spoken(r.ServerMPTCP)
	}
	if !r.Served {
		l.Refused = r.Refused.String()
	}
	if r.Err != nil {
		l.Error = r.Err.Error()
	}
	return l
}

func addressText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	return a.String()
}

func spoken(s mptcp.Status) string {
	if s.MPTCP {
		return "yes"
	}
	return s.Reason.String()
}
