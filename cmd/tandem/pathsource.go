// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/paths"
)

// errUnwatched is for when the kernel's events are not to be had.
var errUnwatched = &admin.Error{
	Message: "tandem cannot follow subflows here",
	Hint:    `that needs Linux 5.19 and CAP_NET_ADMIN; "tandem paths" without --watch lists those there are`,
	Status:  http.StatusNotImplemented,
}

// Paths implements admin.PathSource.
func (p *pathManagers) Paths() ([]admin.Paths, error) {
	all, known := []admin.Paths{}, make(map[admin.Token]bool)
	if e := p.engine.Load(); e != nil {
		states, err := e.Snapshot()
		if err != nil {
			return nil, err
		}
		for i := range states {
			all = append(all, describePaths(&states[i]))
			known[admin.Token(states[i].Token)] = true
		}
	}
	all, err := p.appendLegs(all, known)
	return nameNetworks(p.server.Networks(), all), err
}

// PathEvents implements admin.PathSource.
func (p *pathManagers) PathEvents(ctx context.Context) (iter.Seq[admin.PathEvent], error) {
	e, release, err := p.watch()
	if errors.Is(err, paths.ErrUnavailable) {
		return nil, errUnwatched
	}
	if err != nil {
		return nil, err
	}
	return func(yield func(admin.PathEvent) bool) {
		defer release()
		for n := range e.Watch(ctx) {
			if !yield(describeNotice(&n)) {
				return
			}
		}
	}, nil
}

func describePaths(s *paths.ConnectionState) admin.Paths {
	p := admin.Paths{
		Token: admin.Token(s.Token), Initiator: s.Initiator, Manager: s.Policy, Begun: s.Begun,
		Subflows: describeSubflows(s.Subflows), Past: describeSubflows(s.Past),
	}
	if !s.Lost.IsZero() {
		p.Lost, p.LostBy = &s.Lost, s.LostBy.String()
	}
	return p
}

func describeSubflows(states []paths.SubflowState) []admin.Subflow {
	list := make([]admin.Subflow, len(states))
	for i := range states {
		list[i] = describeSubflow(&states[i].Subflow, states[i].Interface)
	}
	return list
}

func describeSubflow(s *paths.Subflow, device string) admin.Subflow {
	d := admin.Subflow{
		Local: s.LocalAddr(), Remote: s.Remote, Interface: device,
		State: s.State.String(), Since: &s.Since, Backup: s.Backup, Passive: s.Passive,
		Opened: s.Opened.String(), RTT: s.RTT.Seconds(), Sent: s.Sent, Received: s.Received,
	}
	if s.State == paths.Closed || s.State == paths.Closing || s.State == paths.Withheld {
		d.Closed = s.Closed.String()
	}
	if s.Error != 0 {
		d.Error = s.Error.Error()
	}
	return d
}

func describeNotice(n *paths.Notice) admin.PathEvent {
	e := admin.PathEvent{Time: n.Time, Event: string(n.Kind), Token: admin.Token(n.Token), Missed: n.Lost}
	switch n.Kind {
	case paths.NoticeAnnounced, paths.NoticeRemoved:
		e.Remote = &n.Remote
	case paths.NoticeExpired:
		e.Cause = n.Cause.String()
	default:
		s := describeSubflow(&n.Subflow, "")
		e.Subflow = &s
	}
	return e
}
