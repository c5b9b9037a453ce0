// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ip runs a command of iproute2 in the test's namespace.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs ip")
	} else if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// many subflows of one connection, more than a first guess makes room for.
func TestSubflows(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	const extra = 8
	ip(t, "mptcp limits set subflows 8 add_addr_accepted 8")
	for _, host := range []string{"11", "12", "13", "14", "15", "16", "17", "18"} {
		ip(t, "addr add 10.99.0."+host+"/32 dev lo")
		ip(t, "mptcp endpoint add 10.99.0."+host+" subflow")
	}
	l, to := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
	c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer})
	s, _ := mustAccept(t, l)
	talk(t, c, s, "there")
	talk(t, s, c, "and back")
	var all []Subflow
	eventually(t, "eight subflows joined", func() bool {
		var err error
		if all, err = Subflows(c); err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.TCP.State != StateEstablished {
				return false
			}
		}
		return len(all) == 1+extra
	})
	locals := map[netip.Addr]bool{}
	for i, f := range all {
		if f.ID != uint32(i+1) || f.Remote != to || f.TCP.SendMSS == 0 {
			t.Errorf("subflow %d: %+v", i, f)
		}
		locals[f.Local.Addr()] = true
	}
	if len(locals) != 1+extra || !locals[loopback4.Addr()] {
		t.Errorf("local addresses: %v", locals)
	}
	if all[0].TCP.BytesSent != 5 || all[0].TCP.BytesReceived != 8 {
		t.Errorf("first subflow: %+v", all[0])
	}
	if info, err := InfoOf(c); err != nil || info.Subflows != extra {
		t.Errorf("info: %+v, %v", info, err)
	}

	// What older kernels can tell agrees.
	older, errno, err := olderInfo(c)
	if errno != 0 || err != nil {
		t.Fatal(errno, err)
	}
	opts := cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(Subflow{}, "ID", "TCP")}
	if diff := cmp.Diff(all, older, opts); diff != "" {
		t.Error(diff)
	}
	if older[0].TCP.BytesReceived != all[0].TCP.BytesReceived {
		t.Errorf("first subflow: %+v", older[0])
	}
}

func TestSubflowsOfPlainTCP(t *testing.T) {
	needMPTCP(t)
	for name, modes := range map[string][2]Mode{"TCP": {ModeOff, ModeOff}, "fallen back": {ModePrefer, ModeOff}} {
		for _, addr := range []netip.AddrPort{loopback4, loopback6} {
			c, s := pair(t, addr, modes[0], modes[1])
			talk(t, s, c, "1234")
			local, err := LocalAddr(c)
			if err != nil {
				t.Fatal(err)
			}
			remote, err := RemoteAddr(c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Subflows(c)
			if err != nil || len(got) != 1 || got[0].Local != local || got[0].Remote != remote || got[0].TCP.BytesReceived != 4 || got[0].ID != 0 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}
