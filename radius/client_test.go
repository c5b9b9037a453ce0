// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"layeh.com/radius"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/radius/radiustest"
	"github.com/tandem-gateway/tandem/subscribers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const users = `
anna	Cleartext-Password := "geheim"
	Filter-Id = "gold",
	Session-Timeout = 3600,
	Idle-Timeout = 600,
	Class = "some class",
	Acct-Interim-Interval = 120,
	Tandem-Rate-Up = 800,
	Tandem-Rate-Down = 16000,
	Tandem-Connections = 100,
	Tandem-New-Per-Second = 10,
	Tandem-Quota = 10000000000,
	Tandem-Quota-Period = Week,
	Tandem-Reduced-Rate = 64,
	Tandem-Options = "inactivity-timeout=60s",
	Tandem-Max-Options = "inactivity-timeout=2h;subflow-rate-limit=4Mbit",
	Tandem-Forbid-Options = "scheduler,delayed-ack",
	Tandem-Congestion-Controls = "cubic,bbr"

berta	Cleartext-Password := "auch geheim"

192.0.2.7	Auth-Type := Accept
	Filter-Id = "silver"
`

func newTestClient(servers ...Server) *Client {
	return NewClient(ClientOptions{
		Servers: servers, Identity: Identity{NAS: "gateway", Address: netip.MustParseAddr("127.0.0.1")},
		Patience: Patience{Timeout: 500 * time.Millisecond, Tries: 4}, Password: "an address",
	})
}

func at(address string) Server { return Server{address, []byte(radiustest.Secret)} }

func ref[T any](v T) *T { return &v }

func TestAuthenticate(t *testing.T) {
	server := radiustest.Start(t, radiustest.Config{Users: users})
	client, ctx := newTestClient(at(server.Auth)), context.Background()

	set, err := options.ParseSet("inactivity-timeout=60s")
	if err != nil {
		t.Fatal(err)
	}
	most, err := options.ParseSet("inactivity-timeout=2h;subflow-rate-limit=4Mbit")
	if err != nil {
		t.Fatal(err)
	}
	want := subscribers.Grant{
		Changes: subscribers.Changes{
			Policy: "gold", Connections: ref(100), NewPerSecond: ref(10.0), Up: ref(uint64(100_000)), Down: ref(uint64(2_000_000)),
			Quota: ref(uint64(1e10)), Period: ref(subscribers.Week), Reduced: ref(uint64(8000)), Options: &set,
			Lifetime: ref(time.Hour), Idle: ref(10 * time.Minute),
			MaxOptions: &most, ForbidOptions: &[]options.Option{options.Scheduler, options.DelayedACK}, CongestionControls: &[]string{"cubic", "bbr"},
		},
		Class: [][]byte{[]byte("some class")}, Interim: 2 * time.Minute,
	}
	got, err := client.Authenticate(ctx, subscribers.Question{User: "anna", Password: "geheim"})
	if err != nil {
		t.Fatalf("%v\n%s", err, server.Log())
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b options.Set) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, q := range []subscribers.Question{
		{User: "anna", Password: "falsch"}, {User: "anna"}, {User: "nobody", Password: "geheim"}, {Password: "geheim"},
		{User: "anna", Password: string(bytes.Repeat([]byte("x"), 129))},
	} {
		if _, err := client.Authenticate(ctx, q); !errors.Is(err, subscribers.ErrRejected) {
			t.Errorf("%q with %q: %v, want %v", q.User, q.Password, err, subscribers.ErrRejected)
		}
	}
	byAddress := subscribers.Question{User: "192.0.2.7", Address: netip.MustParseAddr("192.0.2.7"), ByAddress: true}
	if got, err := client.Authenticate(ctx, byAddress); err != nil || got.Changes.Policy != "silver" {
		t.Errorf("by address: %+v, %v", got, err)
	}
}

// TestUnsignedAnswer has a server whose answers anybody on the way may have
// forged.
func TestUnsignedAnswer(t *testing.T) {
	server := radiustest.Start(t, radiustest.Config{Users: users, Unsigned: true})
	// What FreeRADIUS does by itself depends on its version: the attribute is
	// taken out on the way, and the answer made authentic again.
	stripped := relay(t, server.Auth, func(request, answer *radius.Packet) []byte {
		answer.Del(80)
		answer.Authenticator = request.Authenticator
		wire, err := answer.Encode()
		if err != nil {
			t.Error(err)
		}
		return wire
	})
	_, err := newTestClient(at(stripped)).Authenticate(context.Background(), subscribers.Question{User: "berta", Password: "auch geheim"})
	if !errors.Is(err, ErrForged) || !errors.Is(err, subscribers.ErrAway) {
		t.Errorf("%v, want %v", err, ErrForged)
	}
}

// relay passes requests to a server and changes its answers.
func relay(t *testing.T, server string, change func(request, answer *radius.Packet) []byte) string {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := make([]byte, radius.MaxPacketLength)
		for {
			n, from, err := front.ReadFrom(in)
			if err != nil {
				return
			}
			back, err := net.Dial("udp", server)
			if err != nil {
				t.Error(err)
				return
			}
			request, _ := radius.Parse(in[:n], []byte(radiustest.Secret))
			_, _ = back.Write(in[:n])
			_ = back.SetReadDeadline(time.Now().Add(30 * time.Second))
			if n, err = back.Read(in); err == nil {
				answer, _ := radius.Parse(in[:n], []byte(radiustest.Secret))
				_, _ = front.WriteTo(change(request, answer), from)
			}
			back.Close()
		}
	}()
	t.Cleanup(func() { front.Close(); <-done })
	return front.LocalAddr().String()
}

func TestFailover(t *testing.T) {
	server := radiustest.Start(t, radiustest.Config{Users: users})
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client := newTestClient(at(radiustest.FreeAddress(t)), at(silent.LocalAddr().String()), at(server.Auth))
	q := subscribers.Question{User: "berta", Password: "auch geheim"}
	if _, err := client.Authenticate(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	if order := client.group.order(); len(order) != 1 || order[0].Address != server.Auth {
		t.Errorf("asks %d servers next, first %s", len(order), order[0].Address)
	}
	server.Stop()
	if _, err := client.Authenticate(context.Background(), q); !errors.Is(err, subscribers.ErrAway) {
		t.Errorf("%v, want %v", err, subscribers.ErrAway)
	}
}

func TestMessageAuthenticator(t *testing.T) {
	p := radius.New(radius.CodeAccessRequest, []byte("secret"))
	p.Add(1, radius.Attribute("anna"))
	if err := verify(p, p.Authenticator); !errors.Is(err, ErrForged) {
		t.Errorf("without one: %v", err)
	}
	if err := sign(p); err != nil {
		t.Fatal(err)
	}
	if p.Attributes[0].Type != 80 {
		t.Error("it is not the first attribute")
	}
	if err := verify(p, p.Authenticator); err != nil {
		t.Error(err)
	}
	if err := verify(p, [16]byte{}); !errors.Is(err, ErrForged) {
		t.Errorf("for another request: %v", err)
	}
	p.Attributes[1].Attribute[0]++
	if err := verify(p, p.Authenticator); !errors.Is(err, ErrForged) {
		t.Errorf("of another user: %v", err)
	}
	p.Attributes[1].Attribute[0]--
	p.Attributes = append(p.Attributes, p.Attributes[0])
	if err := verify(p, p.Authenticator); !errors.Is(err, ErrForged) {
		t.Errorf("twice: %v", err)
	}
}

// Attributes about options that mean nothing are refused: they may have been
// limits.
func TestMalformedOptions(t *testing.T) {
	for _, m := range []struct {
		a    Attribute
		text string
	}{
		{Options, "scheduler=fast"}, {Options, "subflow-rate-limit=0"}, {MaxOptions, "scheduler=primary"}, {MaxOptions, "inactivity-timeout"},
		{ForbidOptions, "scheduler;delayed-ack"}, {ForbidOptions, "scheduler, delayed-ack"}, {CongestionControls, "cubic,vega "}, {CongestionControls, ","},
	} {
		p := radius.New(radius.CodeAccessAccept, []byte("secret"))
		if err := Add(p, m.a, []byte(m.text)); err != nil {
			t.Fatal(err)
		}
		if g, err := grantOf(p); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s %q: %+v, %v", m.a, m.text, g.Changes, err)
		}
	}
}

func FuzzGrant(f *testing.F) {
	p := radius.New(radius.CodeAccessAccept, []byte("secret"))
	for a := RateUp; a <= ReducedRate; a++ {
		if err := Add(p, a, []byte{0, 0, 0, 1}); err != nil {
			f.Fatal(err)
		}
	}
	for a, text := range map[Attribute]string{
		Options: "scheduler=primary", MaxOptions: "inactivity-timeout=2h", ForbidOptions: "scheduler,delayed-ack", CongestionControls: "cubic,bbr",
	} {
		if err := Add(p, a, []byte(text)); err != nil {
			f.Fatal(err)
		}
	}
	p.Add(27, radius.NewInteger(60))
	p.Add(11, radius.Attribute("gold"))
	wire, err := p.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add(append(make([]byte, 18), 0, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := radius.Parse(b, []byte("secret"))
		if err != nil {
			return
		}
		_ = verify(p, p.Authenticator)
		g, err := grantOf(p)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if c := g.Changes; c.Lifetime != nil && *c.Lifetime < 0 || c.Connections != nil && *c.Connections < 0 {
			t.Fatalf("%+v", c)
		}
	})
}
