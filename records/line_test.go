// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
)

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
	if r.ServerMPTCP != (mptcp.Status{}) {
		l.ServerMPTCP = spoken(r.ServerMPTCP)
	}
	if r.Options != nil {
		l.Options = r.Options.String()
	}
	if r.HopChoice != nil {
		l.AskedOfHop = r.HopChoice.Asked.String()
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

func TestLine(t *testing.T) {
	e := example()
	const want = `{"start":"2027-01-15T08:00:00.123Z","end":"2027-01-15T08:00:01.623Z","protocol":"tcp","listener":"phones","user":"alice",` +
		`"client":"192.0.2.7:40000","host":"www.example.com","server":"198.51.100.80:443","local":"203.0.113.1:50000","upstream":"direct",` +
		`"client_mptcp":"none","server_mptcp":"not_asked","bytes_up":100,"bytes_down":5000000000,"ended":"complete","trace_id":"0123456789abcdef0123456789abcdef"}` + "\n"
	var l lineEncoder
	if d := cmp.Diff(want, string(l.append(nil, &e))); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
	if n := testing.AllocsPerRun(100, func() { lineBuffer = l.append(lineBuffer[:0], &e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

var lineBuffer []byte

// FuzzLine compares with what encoding/json makes of a Line.
func FuzzLine(f *testing.F) {
	f.Add("alice", "www.example.com", "broken pipe", "dsl", "lte", int64(began.UnixNano()), int64(time.Second), uint64(1), uint64(1<<63), uint16(443), uint8(0))
	f.Add("a\"\\\x00<é>\xff&\u2028", "", "", "", "z", int64(0), int64(1), uint64(0), uint64(0), uint16(0), uint8(0xff))
	f.Fuzz(func(t *testing.T, user, host, failure, network, other string, start, duration int64, up, down uint64, port uint16, bits uint8) {
		is := func(bit uint8) bool { return bits&bit != 0 }
		e := entry{trace: host}
		r := &e.record
		r.Listener, r.User, r.Host, r.Up, r.Down, r.Duration = host, user, host, up, down, time.Duration(duration)
		r.Start = time.Unix(0, start)
		if is(1) {
			r.Client = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: bits}).WithZone(user), port)
			r.Server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, bits}), port)
		}
		if is(2) {
			r.Hop, r.Local = user, r.Server
		}
		if failure != "" {
			r.Err = errors.New(failure)
		}
		if is(4) {
			r.Networks = append(r.Networks, proxy.NetworkBytes{Name: network, Up: up, Down: down})
			if network != other {
				r.Networks = append(r.Networks, proxy.NetworkBytes{Name: other, Up: down, Down: up})
			}
		}
		r.Served = is(8)
		if is(16) {
			r.Command = proxy.Associate
		}
		r.ClientMPTCP.MPTCP, r.ServerMPTCP.Reason = is(32), mptcp.FallbackReason(bits>>6)
		want, err := json.Marshal(lineOf(&e))
		if err != nil {
			t.Skip(err) // a year that JSON does not have
		}
		var l lineEncoder
		for range 2 { // the second time it knows the seconds
			if d := cmp.Diff(string(want)+"\n", string(l.append(nil, &e))); d != "" {
				t.Errorf("line (-encoding/json +got):\n%s", d)
			}
		}
	})
}
