// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/tandem-gateway/tandem/radius/radiustest"
	"github.com/tandem-gateway/tandem/subscribers"
)

// TestElders ends a session that only a process from before has. Once that has ended
// there is none, and while another one does not answer nobody knows.
func TestElders(t *testing.T) {
	elder, a := newDynamic(t)
	has, successor, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	elder.Leave(has)
	stuck, way, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	r, err := subscribers.NewRegistry(subscribers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	d, err := NewDynamic(DynamicOptions{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Clients: map[netip.Addr][]byte{client.Addr(): []byte(radiustest.Secret)},
		Identity: Identity{NAS: "gateway"}, Registry: r, Log: quiet, Elders: []*net.UnixConn{successor},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	second := time.Now()
	ask := func() (radius.Code, error) {
		t.Helper()
		second = second.Add(time.Second) // else it is the same request again
		wire, err := d.take(disconnect(t, second, func(*radius.Packet) {}), client, second)
		if err != nil {
			return 0, err
		}
		answer, err := radius.Parse(wire, []byte(radiustest.Secret))
		if err != nil {
			t.Fatal(err)
		}
		return answer.Code, nil
	}
	if code, err := ask(); code != radius.CodeDisconnectACK || err != nil {
		t.Errorf("the session of an elder: %v, %v", code, err)
	}
	if code, err := ask(); code != radius.CodeDisconnectNAK || err != nil {
		t.Errorf("no session: %v, %v", code, err)
	}
	elder.Close()
	if _, err := r.Admit("anna", a.State().Address, time.Now()); err != nil {
		t.Fatal(err)
	}
	if code, err := ask(); code != radius.CodeDisconnectACK || err != nil {
		t.Errorf("without elders: %v, %v", code, err)
	}
	if n := len(d.elders); n != 0 {
		t.Errorf("%d elders are left", n)
	}
	d.elders = []*net.UnixConn{way}
	defer way.Close()
	if code, err := ask(); !errors.Is(err, errElder) {
		t.Errorf("an elder does not answer: %v, %v", code, err)
	}
}
