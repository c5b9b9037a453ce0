// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"github.com/tandem-gateway/tandem/radius/radiustest"
	"github.com/tandem-gateway/tandem/subscribers"
)

var quiet = slog.New(slog.DiscardHandler)

var client = netip.MustParseAddrPort("127.0.0.1:5000")

// newDynamic returns a server with a session of anna.
func newDynamic(t *testing.T) (*Dynamic, *subscribers.Account) {
	t.Helper()
	d, err := subscribers.NewDirectory(subscribers.DirectoryConfig{Policies: map[string]subscribers.Policy{"slow": {Up: 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := subscribers.NewRegistry(subscribers.Options{Directory: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	a, err := r.Admit("anna", netip.MustParseAddr("192.0.2.7"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewDynamic(DynamicOptions{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Clients: map[netip.Addr][]byte{client.Addr(): []byte(radiustest.Secret)},
		Identity: Identity{NAS: "gateway"}, Registry: r,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, a
}

// radclient sends a request with FreeRADIUS's client.
func radclient(t *testing.T, to netip.AddrPort, command, attributes string) string {
	t.Helper()
	if _, err := exec.LookPath("radclient"); err != nil {
		t.Skip("needs radclient: make deps")
	}
	c := exec.Command("radclient", "-x", "-r", "1", "-t", "5", "-d", radiustest.ClientDir(t), to.String(), command, radiustest.Secret)
	c.Stdin = strings.NewReader(attributes + "\n")
	out, _ := c.CombinedOutput() // fails on a NAK
	return string(out)
}

func TestRadclient(t *testing.T) {
	d, a := newDynamic(t)
	now := func() string {
		return "Message-Authenticator=0x00, Event-Timestamp=" + time.Now().UTC().Format(`"Jan  2 2006 15:04:05 UTC"`)
	}
	for _, c := range []struct{ command, attributes, want string }{
		{"coa", "User-Name=anna, Tandem-Rate-Down=800, " + now(), "Received CoA-ACK"},
		{"coa", "User-Name=anna, Tandem-Quota=1000, Tandem-Quota-Period=Day, " + now(), "Received CoA-ACK"},
		{"coa", "User-Name=anna, Filter-Id=nonesuch, " + now(), "Invalid-Attribute-Value"},
		{"coa", "User-Name=anna, Framed-MTU=1400, " + now(), "Unsupported-Attribute"},
		{"coa", "User-Name=bert, Tandem-Rate-Down=800, " + now(), "Session-Context-Not-Found"},
		{"coa", "User-Name=anna, NAS-Identifier=other, " + now(), "NAS-Identification-Mismatch"},
		{"coa", "User-Name=anna, Service-Type=Authorize-Only, " + now(), "Unsupported-Service"},
		{"disconnect", now(), "Missing-Attribute"},
		{"disconnect", "User-Name=anna, Framed-IP-Address=192.0.2.8, " + now(), "Session-Context-Not-Found"},
		{"disconnect", "User-Name=anna, Framed-IP-Address=192.0.2.7, " + now(), "Received Disconnect-ACK"},
		{"disconnect", "User-Name=anna, " + now(), "Session-Context-Not-Found"},
	} {
		if out := radclient(t, d.Addr(), c.command, c.attributes); !strings.Contains(out, c.want) {
			t.Errorf("%s of %s: want %s, got\n%s", c.command, c.attributes, c.want, out)
		}
	}
	if s := a.State(); s.RateDown != 100_000 || s.Quota.Bytes != 1000 || s.Quota.Period != subscribers.Day {
		t.Errorf("%+v", s)
	}
	if s := d.Stats(); s.Taken != 3 || s.Refused != 8 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// disconnect is a Disconnect-Request for anna, made at a time.
func disconnect(t *testing.T, at time.Time, change func(*radius.Packet)) []byte {
	t.Helper()
	p := radius.New(radius.CodeDisconnectRequest, []byte(radiustest.Secret))
	p.Authenticator = [16]byte{}
	p.Add(1, radius.Attribute("anna"))
	if !at.IsZero() {
		if err := rfc2869.EventTimestamp_Set(p, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := sign(p); err != nil {
		t.Fatal(err)
	}
	change(p)
	wire, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestWhatIsDropped(t *testing.T) {
	d, _ := newDynamic(t)
	now := time.Now()
	same := func(*radius.Packet) {}
	for name, c := range map[string]struct {
		wire []byte
		from string
		want error
	}{
		"a stranger":             {disconnect(t, now, same), "127.0.0.2:5000", errStranger},
		"another secret":         {disconnect(t, now, func(p *radius.Packet) { p.Secret = []byte("x") }), "127.0.0.1:5000", errRequest},
		"an Access-Request":      {disconnect(t, now, func(p *radius.Packet) { p.Code = radius.CodeAccessRequest }), "127.0.0.1:5000", errRequest},
		"unsigned":               {disconnect(t, now, func(p *radius.Packet) { p.Del(80) }), "127.0.0.1:5000", ErrForged},
		"changed after signing":  {disconnect(t, now, func(p *radius.Packet) { p.Add(1, radius.Attribute("x")) }), "127.0.0.1:5000", ErrForged},
		"without a time":         {disconnect(t, time.Time{}, same), "127.0.0.1:5000", errOld},
		"six minutes ago":        {disconnect(t, now.Add(-6*time.Minute), same), "127.0.0.1:5000", errOld},
		"six minutes from now":   {disconnect(t, now.Add(6*time.Minute), same), "127.0.0.1:5000", errOld},
		"shorter than it claims": {disconnect(t, now, same)[:30], "127.0.0.1:5000", nil},
	} {
		out, err := d.take(c.wire, netip.MustParseAddrPort(c.from), now)
		if out != nil || err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: answered with %d bytes, %v; want %v", name, len(out), err, c.want)
		}
	}
}

// TestReplay sends one request twice, to a gateway where the subscriber has come
// back in between.
func TestReplay(t *testing.T) {
	d, _ := newDynamic(t)
	now := time.Now()
	wire := disconnect(t, now, func(*radius.Packet) {})
	first, err := d.take(wire, client, now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := radius.Parse(first, []byte(radiustest.Secret))
	if err != nil || p.Code != radius.CodeDisconnectACK {
		t.Fatalf("%v, %v", p, err)
	}
	if !radius.IsAuthenticResponse(first, wire, []byte(radiustest.Secret)) {
		t.Error("the answer is not authentic")
	}
	request, err := radius.Parse(wire, []byte(radiustest.Secret))
	if err != nil || verify(p, request.Authenticator) != nil {
		t.Errorf("the answer is not signed: %v", err)
	}
	if _, err := d.o.Registry.Admit("anna", netip.MustParseAddr("192.0.2.7"), now); err != nil {
		t.Fatal(err)
	}
	second, err := d.take(wire, client, now.Add(time.Minute))
	if err != nil || string(second) != string(first) {
		t.Errorf("another answer, or %v", err)
	}
	if n := len(d.o.Registry.Accounts()); n != 1 {
		t.Errorf("%d sessions after a request that was sent again, want 1", n)
	}
	// After the answer has been forgotten, its time is over.
	if _, err := d.take(wire, client, now.Add(answered)); !errors.Is(err, errOld) {
		t.Error(err)
	}
}

func FuzzDynamic(f *testing.F) {
	registry, err := subscribers.NewRegistry(subscribers.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(registry.Close)
	d := &Dynamic{o: DynamicOptions{
		Clients: map[netip.Addr][]byte{client.Addr(): []byte("secret")}, Registry: registry, WithoutTimestamp: true,
		Log: quiet,
	}, answers: map[fingerprint]answer{}}
	f.Add(byte(radius.CodeCoARequest), []byte("\x01\x06anna"))
	f.Add(byte(radius.CodeDisconnectRequest), []byte("\x2c\x06abcd\x06\x06\x00\x00\x00\x11"))
	f.Fuzz(func(t *testing.T, code byte, attributes []byte) {
		parsed, err := radius.ParseAttributes(attributes)
		if err != nil {
			return
		}
		p := &radius.Packet{Code: radius.Code(code), Secret: []byte("secret"), Attributes: parsed}
		if sign(p) != nil {
			return
		}
		wire, err := p.Encode()
		if err != nil {
			return
		}
		out, err := d.take(wire, client, time.Now())
		if err != nil {
			return
		}
		answer, err := radius.Parse(out, []byte("secret"))
		if err != nil || !radius.IsAuthenticResponse(out, wire, []byte("secret")) {
			t.Fatalf("bad answer: %v", err)
		}
		if nak := answer.Code == radius.CodeCoANAK || answer.Code == radius.CodeDisconnectNAK; nak != (rfc3576.ErrorCause_Get(answer) != 0) {
			t.Fatalf("%v with Error-Cause %v", answer.Code, rfc3576.ErrorCause_Get(answer))
		}
	})
}

func TestAccounting(t *testing.T) {
	server := radiustest.Start(t, radiustest.Config{Users: users})
	a := NewAccounting(AccountingOptions{
		Servers: []Server{at(radiustest.FreeAddress(t)), at(server.Acct)}, Patience: Patience{Timeout: 500 * time.Millisecond},
		Identity: Identity{NAS: "gateway"},
	})
	start := time.Now().Add(-time.Minute)
	e := subscribers.Event{
		Kind: subscribers.Start, User: "anna", Session: "0123456789abcdef", Class: [][]byte{[]byte("x")},
		Address: netip.MustParseAddr("192.0.2.7"), Start: start, Time: start,
	}
	a.Account(e)
	e.Kind, e.Time, e.Up, e.Down = subscribers.Interim, start.Add(30*time.Second), 1000, 5<<32+7
	a.Account(e)
	e.Kind, e.Cause, e.Networks = subscribers.Stop, subscribers.Kicked, []subscribers.Network{{Name: "dsl", Up: 600, Down: 7}, {Name: "lte", Up: 400, Down: 5 << 32}}
	a.Account(e)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if lost := a.Close(ctx); lost != 0 || a.Stats().Sent != 3 {
		t.Fatalf("%d records are lost, %+v\n%s", lost, a.Stats(), server.Log())
	}
	detail := server.Detail(t)
	for _, want := range []string{
		"Acct-Status-Type = Start", "Acct-Status-Type = Interim-Update", "Acct-Status-Type = Stop",
		`User-Name = "anna"`, `Acct-Session-Id = "0123456789abcdef"`, "Framed-IP-Address = 192.0.2.7", `NAS-Identifier = "gateway"`,
		"Acct-Input-Octets = 1000", "Acct-Output-Octets = 7", "Acct-Output-Gigawords = 5", "Acct-Session-Time = 30", "Class = 0x78",
		"Acct-Terminate-Cause = Admin-Reset", `Tandem-Access-Network = "dsl 600 7"`, `Tandem-Access-Network = "lte 400 21474836480"`,
	} {
		if !strings.Contains(detail, want) {
			t.Errorf("no %s in\n%s", want, detail)
		}
	}
}

// TestAccountingCountsWhatIsUnderWay ends while no server answers: the record that
// is being sent is lost as those are that wait.
func TestAccountingCountsWhatIsUnderWay(t *testing.T) {
	a := NewAccounting(AccountingOptions{Servers: []Server{at(radiustest.FreeAddress(t))}, Patience: Patience{Timeout: 10 * time.Millisecond, Tries: 1}, Log: quiet})
	for range 3 {
		a.Account(subscribers.Event{User: "anna", Session: "1", Start: time.Now(), Time: time.Now()})
	}
	for a.Stats().Waiting > 2 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if lost := a.Close(ctx); lost != 3 {
		t.Errorf("%d records are lost, want 3: %+v", lost, a.Stats())
	}
}

// TestAccountingWaits has a server that comes later.
func TestAccountingWaits(t *testing.T) {
	address, other := radiustest.FreeAddress(t), radiustest.FreeAddress(t)
	a := NewAccounting(AccountingOptions{Servers: []Server{at(address)}, Patience: Patience{Timeout: 100 * time.Millisecond, Tries: 1}, Room: 2, Log: quiet})
	e := subscribers.Event{User: "anna", Session: "1", Start: time.Now(), Time: time.Now()}
	e.Kind = subscribers.Start
	a.Account(e)
	for a.Stats().Waiting > 0 { // until it is under way
		time.Sleep(time.Millisecond)
	}
	e.Kind = subscribers.Interim
	a.Account(e)
	a.Account(e)
	a.Account(e) // no room
	e.Kind = subscribers.Stop
	a.Account(e) // takes the place of an interim record
	server := radiustest.Start(t, radiustest.Config{Users: users, Auth: other, Acct: address})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if lost := a.Close(ctx); lost != 2 || a.Stats().Sent != 3 {
		t.Fatalf("%d lost, %+v", lost, a.Stats())
	}
	detail := server.Detail(t)
	if !strings.Contains(detail, "Acct-Status-Type = Start") || !strings.Contains(detail, "Acct-Status-Type = Stop") {
		t.Error(detail)
	}
}
