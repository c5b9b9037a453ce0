// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
)

const groupReach = "aggregators"

// trip is what came of connecting to an aggregator over a link.
type trip struct {
	aggregator *Aggregator
	link       *link
	answered   error // nil: it did
	status     mptcp.Status
	fastOpen   error // nil: the request travelled in the SYN, and was taken
}

// reachRows connects to each aggregator over each link and has it answer.
func reachRows(ctx context.Context, n *Needs, w *network, links []link) []Row {
	var trips []trip
	for i := range n.Aggregators {
		for j := range links {
			a, l := &n.Aggregators[i], &links[j]
			if a.Address.Addr().Is4() == l.address.Is4() && (a.Device == "" || a.Device == l.device) {
				trips = append(trips, try(ctx, a, l))
			}
		}
	}
	var rows []Row
	for i := range trips {
		rows = append(rows, trips[i].rows(trips, w)...)
	}
	return rows
}

// try makes three connections: one tells about MPTCP, as Fast Open that fails
// takes that away; one gets the Fast Open cookie; one uses it.
func try(ctx context.Context, a *Aggregator, l *link) trip {
	t := trip{aggregator: a, link: l}
	c := newCaller(a, l)
	var first call
	first, t.answered = c.call(ctx, false)
	t.status = first.status
	if t.answered != nil || !a.FastOpen {
		return t
	}
	if _, t.fastOpen = c.call(ctx, true); t.fastOpen != nil {
		return t
	}
	var fast call
	if fast, t.fastOpen = c.call(ctx, true); t.fastOpen == nil {
		t.fastOpen = fast.fastOpen
	}
	return t
}

func (t *trip) rows(all []trip, w *network) []Row {
	check := fmt.Sprintf("%s at %s over %s", t.aggregator.Upstream, t.aggregator.Address, t.link.name())
	if t.answered != nil {
		// Another aggregator stands in over this link, or this is the only one.
		standIn := t.other(all, func(o *trip) bool {
			return o.link == t.link && o.aggregator.Upstream == t.aggregator.Upstream && o.answered == nil
		})
		r := Row{Group: groupReach, Check: check, Verdict: severity(standIn == nil), Found: t.answered.Error()}
		r.Lost, r.Mend = t.unanswered()
		return []Row{r}
	}
	rows := []Row{good(groupReach, check, "answers")}
	if t.aggregator.Mode != mptcp.ModeOff {
		rows = append(rows, t.mptcpRow(check+", MPTCP", all, w))
	}
	if t.aggregator.FastOpen {
		rows = append(rows, t.fastOpenRow(check+", Fast Open"))
	}
	return rows
}

// unanswered says what is lost, and what mends it.
func (t *trip) unanswered() (lost, mend string) {
	const start = "systemctl start tandem"
	switch err := t.answered; {
	case errors.Is(err, unix.ECONNREFUSED):
		return "this aggregator is not there; run the command on it", start
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("this aggregator does not serve this address, which allow-from of its listener has to name, or does not speak %s there", t.aggregator.Protocol), ""
	case errors.Is(err, converter.ErrIncompatible), errors.Is(err, errNotSOCKS5):
		return fmt.Sprintf("something else than %s answers there: look at servers and type of the upstream", t.aggregator.Protocol), ""
	}
	return "this aggregator cannot be used over this link; run the command on it, unless something on the way drops packets", start
}

// other finds a trip for which something holds, nil if there is none.
func (t *trip) other(all []trip, is func(*trip) bool) *trip {
	for i := range all {
		if &all[i] != t && is(&all[i]) {
			return &all[i]
		}
	}
	return nil
}

func (t *trip) mptcpRow(check string, all []trip, w *network) Row {
	if t.status.MPTCP {
		return good(groupReach, check, "negotiated")
	}
	r := Row{Group: groupReach, Check: check, Found: "not negotiated: " + t.status.Reason.String()}
	better := t.other(all, func(o *trip) bool { return o.aggregator == t.aggregator && o.status.MPTCP })
	if better == nil {
		r.Verdict = Failed
		r.Lost = "connections to this aggregator use one link; run the command on the aggregator, unless something on all links takes MPTCP away"
		r.Mend = "sysctl -w net.mptcp.enabled=1"
		return r
	}
	r.Verdict = severity(t.aggregator.Mode == mptcp.ModeRequire)
	r.Lost = "something on this link takes MPTCP away: connections that begin on it use no other, and none adds it"
	r.Mend = w.mendStripped(t.link, better.link, t.aggregator)
	return r
}

// mendStripped is the command that keeps MPTCP clear of a link: connections
// begin on another, or no longer try to add it.
func (w *network) mendStripped(bad, better *link, a *Aggregator) string {
	to := a.Address.Addr()
	if w.chosen(to, a.Mark) == bad.index {
		for _, way := range w.ways(to, better.index) {
			if way.gateway != nil {
				return fmt.Sprintf("ip route replace %s via %s dev %s", to, way.gateway, better.device)
			}
		}
		return fmt.Sprintf("ip route replace %s dev %s", to, better.device)
	}
	if e := w.endpoint(bad); e != nil {
		return fmt.Sprintf("ip mptcp endpoint delete id %d", e.ID)
	}
	return ""
}

func (t *trip) fastOpenRow(check string) Row {
	if t.fastOpen == nil {
		return good(groupReach, check, "the request travels in the SYN")
	}
	r := Row{
		Group: groupReach, Check: check, Verdict: Warning, Found: t.fastOpen.Error(),
		Lost: "each connection over this link takes a round trip more",
	}
	switch bits, err := sysctlNumber("net.ipv4.tcp_fastopen"); {
	case err == nil && bits&fastOpenClient == 0:
		r.Mend = fmt.Sprintf("sysctl -w net.ipv4.tcp_fastopen=%d", bits|fastOpenClient)
	default:
		r.Lost += "; run the command on the aggregator, unless something on the link drops data in SYNs"
		r.Mend = "sysctl -w net.ipv4.tcp_fastopen=3"
	}
	return r
}
