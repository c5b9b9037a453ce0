// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"
	"layeh.com/radius/rfc5176"

	"github.com/tandem-gateway/tandem/subscribers"
)

const (
	// window is how far the Event-Timestamp of a request may be off (RFC 5176
	// section 6.3).
	window = 300 * time.Second
	// answered is how long an answer is kept for a request that comes again:
	// as long as its timestamp would be taken.
	answered = 2 * window
	// maxAnswers bounds those that are kept.
	maxAnswers = 4096
	// complainEvery is how often the log tells of requests that are dropped, after
	// the first ones.
	complainEvery = 10 * time.Second
)

// DynamicOptions are those of NewDynamic.
type DynamicOptions struct {
	Listen   netip.AddrPort
	Clients  map[netip.Addr][]byte // secrets of those who may send requests
	Identity Identity
	// WithoutTimestamp takes requests without an Event-Timestamp, which may be
	// old ones that somebody sends again.
	WithoutTimestamp bool
	Registry         *subscribers.Registry
	// Changed is told of accounts whose policy has changed; nil: nobody is.
	Changed func([]*subscribers.Account)
	Log     *slog.Logger // nil: slog.Default
	// Elders lead to processes from before, which have sessions of their own: see
	// Pair. They are closed by Leave and Close.
	Elders []*net.UnixConn
}

// Dynamic is a server for Disconnect- and CoA-Requests (RFC 5176). A request
// needs a Message-Authenticator and an Event-Timestamp; one that comes again gets
// the answer from before and changes nothing.
type Dynamic struct {
	o       DynamicOptions
	conn    *net.UDPConn
	answers map[fingerprint]answer
	elders  []*net.UnixConn // that have not ended
	errands uint64          // how many there were
	// successor passes requests on, once there is one.
	successor *net.UnixConn
	counts    struct{ taken, refused, dropped atomic.Uint64 }
	running   sync.WaitGroup
}

// DynamicStats count requests.
type DynamicStats struct {
	Taken   uint64 // did what they asked for
	Refused uint64 // were answered with a NAK
	Dropped uint64 // came from strangers, or were forged, or too old
}

// fingerprint tells requests apart: the Authenticator is a hash over all of one.
type fingerprint struct {
	from          netip.AddrPort
	identifier    byte
	authenticator [16]byte
}

type answer struct {
	wire []byte
	at   time.Time
}

// NewDynamic begins to serve. Close ends that.
func NewDynamic(o DynamicOptions) (*Dynamic, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	config := net.ListenConfig{Control: shared}
	conn, err := config.ListenPacket(context.Background(), "udp", o.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("radius: dynamic authorisation: %w", err)
	}
	d := &Dynamic{o: o, conn: conn.(*net.UDPConn), answers: map[fingerprint]answer{}, elders: slices.Clone(o.Elders)}
	d.running.Go(d.run)
	return d, nil
}

// shared lets a process have the address while its successor starts.
func shared(_, _ string, c syscall.RawConn) error {
	var err error
	control := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(control, err)
}

// Addr is where requests are taken.
func (d *Dynamic) Addr() netip.AddrPort { return d.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Stats are counts since the start.
func (d *Dynamic) Stats() DynamicStats {
	return DynamicStats{d.counts.taken.Load(), d.counts.refused.Load(), d.counts.dropped.Load()}
}

// Close ends the service. A second call does nothing.
func (d *Dynamic) Close() {
	d.conn.Close()
	if d.successor != nil {
		d.successor.Close()
	}
	d.running.Wait()
	d.closeElders()
}

func (d *Dynamic) run() {
	in := make([]byte, radius.MaxPacketLength)
	complain := rate.Sometimes{First: 10, Interval: complainEvery}
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error for an answer
		}
		out, err := d.take(in[:n], from, time.Now())
		if err != nil {
			dropped := d.counts.dropped.Add(1)
			// Anybody can send many.
			complain.Do(func() {
				d.o.Log.Warn("a request to change a session is not heeded", "from", from, "err", err, "so-far", dropped)
			})
			continue
		}
		// An answer that is lost is asked for again.
		_, _ = d.conn.WriteToUDPAddrPort(out, from)
	}
}

// Why requests are dropped.
var (
	errStranger = errors.New("not one of the clients")
	errRequest  = errors.New("neither a Disconnect-Request nor a CoA-Request with the right Authenticator")
	errOld      = errors.New("Event-Timestamp is missing, or more than 5 minutes off")
)

// take returns the answer to a request, or why it gets none.
func (d *Dynamic) take(in []byte, from netip.AddrPort, now time.Time) ([]byte, error) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	secret := d.o.Clients[from.Addr()]
	if len(secret) == 0 {
		return nil, errStranger
	}
	request, err := radius.Parse(in, secret)
	if err != nil {
		return nil, err
	}
	// Bytes after the length are padding (RFC 2865 section 3).
	in = in[:int(in[2])<<8|int(in[3])]
	if request.Code != radius.CodeDisconnectRequest && request.Code != radius.CodeCoARequest || !radius.IsAuthenticRequest(in, secret) {
		return nil, errRequest
	}
	if err := verify(request, [16]byte{}); err != nil {
		return nil, err
	}
	// Before the timestamp is looked at: the same request is not too old if it
	// was not when it came first.
	id := fingerprint{from, request.Identifier, request.Authenticator}
	if before, known := d.answers[id]; known && now.Sub(before.at) < answered {
		return before.wire, nil
	}
	if err := d.fresh(request, now); err != nil {
		return nil, err
	}
	response, err := d.respond(request, in)
	if err != nil {
		return nil, err
	}
	d.remember(id, answer{response, now})
	return response, nil
}

// fresh looks at when the request was made.
func (d *Dynamic) fresh(request *radius.Packet, now time.Time) error {
	stamp, err := rfc2869.EventTimestamp_Lookup(request)
	if errors.Is(err, radius.ErrNoAttribute) && d.o.WithoutTimestamp {
		return nil
	}
	if err != nil || now.Sub(stamp).Abs() > window {
		return errOld
	}
	return nil
}

func (d *Dynamic) remember(id fingerprint, a answer) {
	if len(d.answers) >= maxAnswers {
		oldest, at := id, a.at
		for other, b := range d.answers {
			if a.at.Sub(b.at) >= answered {
				delete(d.answers, other)
			} else if b.at.Before(at) {
				oldest, at = other, b.at
			}
		}
		if len(d.answers) >= maxAnswers {
			delete(d.answers, oldest)
		}
	}
	d.answers[id] = a
}

// respond does what is asked for, in this process and those from before, and says
// how it went. An elder that refuses is heard first: then nothing is done here.
func (d *Dynamic) respond(request *radius.Packet, in []byte) ([]byte, error) {
	cause, err := d.askElders(in)
	if err != nil {
		return nil, err
	}
	if none := rfc3576.ErrorCause_Value_SessionContextNotFound; cause == 0 || cause == none {
		if here := d.do(request); cause != 0 || here != none {
			cause = here
		}
	}
	ack, nak := radius.CodeDisconnectACK, radius.CodeDisconnectNAK
	if request.Code == radius.CodeCoARequest {
		ack, nak = radius.CodeCoAACK, radius.CodeCoANAK
	}
	response := request.Response(ack)
	if cause != 0 {
		d.counts.refused.Add(1)
		response.Code = nak
		if err := rfc3576.ErrorCause_Set(response, cause); err != nil {
			return nil, err
		}
	} else {
		d.counts.taken.Add(1)
	}
	if err := sign(response); err != nil {
		return nil, err
	}
	return response.Encode()
}

// do returns 0 if it was done, or why not.
func (d *Dynamic) do(request *radius.Packet) rfc3576.ErrorCause {
	if rfc2865.ServiceType_Get(request) == rfc3576.ServiceType_Value_AuthorizeOnly {
		return rfc3576.ErrorCause_Value_UnsupportedService
	}
	if nas := rfc2865.NASIdentifier_GetString(request); nas != "" && nas != d.o.Identity.NAS {
		return rfc3576.ErrorCause_Value_NASIdentificationMismatch
	}
	m := subscribers.Matches{Name: rfc2865.UserName_GetString(request), Session: rfc2866.AcctSessionID_GetString(request)}
	if ip := rfc2865.FramedIPAddress_Get(request); ip != nil {
		m.Address, _ = netip.AddrFromSlice(ip)
	} else if id := rfc2865.CallingStationID_GetString(request); id != "" {
		var err error
		if m.Address, err = netip.ParseAddr(id); err != nil {
			return rfc5176.ErrorCause_Value_InvalidAttributeValue
		}
	}
	if (m == subscribers.Matches{}) {
		return rfc3576.ErrorCause_Value_MissingAttribute
	}
	if request.Code == radius.CodeDisconnectRequest {
		n := d.o.Registry.Disconnect(m)
		d.o.Log.Info("a RADIUS server ends sessions", "user", m.Name, "session", m.Session, "sessions", n)
		if n == 0 {
			return rfc3576.ErrorCause_Value_SessionContextNotFound
		}
		return 0
	}
	return d.change(request, m)
}

func (d *Dynamic) change(request *radius.Packet, m subscribers.Matches) rfc3576.ErrorCause {
	if slices.ContainsFunc(request.Attributes, unchangeable) {
		return rfc3576.ErrorCause_Value_UnsupportedAttribute
	}
	grant, err := grantOf(request)
	if err != nil {
		d.o.Log.Warn("a CoA-Request cannot be understood", "err", err)
		return rfc5176.ErrorCause_Value_InvalidAttributeValue
	}
	changed, err := d.o.Registry.Change(m, grant.Changes)
	switch {
	case err != nil:
		d.o.Log.Warn("a CoA-Request cannot be followed", "err", err)
		return rfc5176.ErrorCause_Value_InvalidAttributeValue
	case len(changed) == 0:
		return rfc3576.ErrorCause_Value_SessionContextNotFound
	}
	d.o.Log.Info("a RADIUS server changes sessions", "user", m.Name, "session", m.Session, "sessions", len(changed))
	if d.o.Changed != nil {
		d.o.Changed(changed)
	}
	return 0
}

// unchangeable reports whether an attribute asks for what a change cannot bring:
// a request is followed as a whole or not at all (RFC 5176 section 2.2).
func unchangeable(avp *radius.AVP) bool {
	switch avp.Type {
	case rfc2865.UserName_Type, rfc2865.NASIPAddress_Type, rfc2865.NASIdentifier_Type, rfc2865.FramedIPAddress_Type,
		rfc2865.FilterID_Type, rfc2865.SessionTimeout_Type, rfc2865.IdleTimeout_Type, rfc2865.VendorSpecific_Type,
		rfc2865.CallingStationID_Type, rfc2865.ProxyState_Type, rfc2866.AcctSessionID_Type,
		rfc2869.EventTimestamp_Type, rfc2869.MessageAuthenticator_Type, nasIPv6Address:
		return false
	}
	return true
}

const nasIPv6Address radius.Type = 95 // RFC 3162
