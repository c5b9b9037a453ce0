// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Every way a connection can lose MPTCP that is told from the others.
func TestWhyNotMPTCP(t *testing.T) {
	const (
		syn    = "tcp dport %[1]d tcp flags & (syn|ack) == syn "
		synAck = "tcp sport %[1]d tcp flags & (syn|ack) == (syn|ack) "
		others = "tcp flags & syn == 0 "
		strip  = "reset tcp option mptcp;"
	)
	for _, tt := range []struct {
		name      string
		rules     string         // port of the listener to be put in
		connected FallbackReason // once connected
		explained FallbackReason // when data has gone both ways
	}{
		{"nothing on the path", "", None, None},
		{"stripped from SYN", syn + strip, PeerTCP, PeerTCP},
		{"stripped from SYN-ACK", synAck + strip, PeerTCP, PeerTCP},
		{"stripped from all else", "tcp dport %[1]d " + others + strip + "tcp sport %[1]d " + others + strip, None, Fallback},
		{"stripped from all else on the way back", "tcp sport %[1]d " + others + strip, None, Fallback},
		{"SYN with MPTCP dropped", syn + "tcp option mptcp exists drop;", PeerTCP, SYNDropped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needMPTCP(t)
			inNamespace(t)
			if tt.explained == SYNDropped {
				// The first SYN without MPTCP is the first repeated one then.
				sysctl(t, "mptcp/syn_retrans_before_tcp_fallback", "0")
			}
			l, to := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
			if tt.rules != "" {
				nft(t, fmt.Sprintf(tt.rules, to.Port()))
			}
			c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer})
			s, _ := mustAccept(t, l)
			status, err := Dialed(c, ModePrefer)
			if err != nil || status.Reason != tt.connected || status.MPTCP != (tt.connected == None) {
				t.Errorf("connected: %+v, %v; want reason %s", status, err, tt.connected)
			}
			talk(t, c, s, "there")
			talk(t, s, c, "and back")
			talk(t, c, s, "again")
			if got, err := Explain(c); err != nil || got != tt.explained {
				t.Errorf("explained: %s, %v; want %s", got, err, tt.explained)
			}
			after, err := status.Refresh(c)
			if want := tt.connected == None && tt.explained == None; err != nil || after.MPTCP != want {
				t.Errorf("after data: %+v, %v; want MPTCP %t", after, err, want)
			}
			if tt.explained == Fallback && after.Reason != Fallback {
				t.Errorf("after data: reason %s", after.Reason)
			}
		})
	}
}

func TestBlackhole(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	sysctl(t, "mptcp/blackhole_timeout", "60")
	sysctl(t, "mptcp/syn_retrans_before_tcp_fallback", "0")
	_, to := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
	nft(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == syn tcp option mptcp exists drop;", to.Port()))
	for _, want := range []FallbackReason{SYNDropped, Blackhole} {
		c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer})
		if got, err := Explain(c); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
		nft(t, "") // the path is good again, and still the kernel does not ask
	}
}

func TestDisabled(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	sysctl(t, "mptcp/enabled", "0")
	if err := Supported(); !errors.Is(err, ErrDisabled) || !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("Supported: %v", err)
	}
	wantWithout(t, Disabled, ErrDisabled)
}

// wantWithout checks what happens where MPTCP sockets cannot be had.
func wantWithout(t *testing.T, reason FallbackReason, sentinel error) {
	t.Helper()
	l, to := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
	if l.MPTCP || l.Reason != reason {
		t.Errorf("listener: %+v, want reason %s", l, reason)
	}
	c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer})
	if s, err := Dialed(c, ModePrefer); err != nil || s != (Status{Reason: reason}) {
		t.Errorf("client: %+v, %v", s, err)
	}
	if _, _, err := StartConnect(to, nil, ConnectOptions{Mode: ModeRequire}); !errors.Is(err, sentinel) {
		t.Errorf("required: %v", err)
	}
	if _, err := Listen(loopback4, ListenOptions{Mode: ModeRequire}); !errors.Is(err, sentinel) {
		t.Errorf("listener with MPTCP required: %v", err)
	}
}
