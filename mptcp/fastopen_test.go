// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// fastOpenNamespace is a namespace with Fast Open on and a listener for it.
func fastOpenNamespace(t *testing.T, server Mode) (Listener, netip.AddrPort) {
	t.Helper()
	needMPTCP(t)
	inNamespace(t)
	sysctl(t, "ipv4/tcp_fastopen", "3")
	return mustListen(t, loopback4, ListenOptions{Mode: server, FastOpen: 16})
}

func TestFastOpen(t *testing.T) {
	for _, client := range []Mode{ModePrefer, ModeOff} {
		for _, server := range []Mode{ModePrefer, ModeOff} {
			t.Run(client.String()+" to "+server.String(), func(t *testing.T) {
				l, to := fastOpenNamespace(t, server)
				o := ConnectOptions{Mode: client, FastOpen: true}
				request := []byte("early")
				// Only asks for the cookie.
				c, sent := mustConnect(t, to, request, o)
				if sent != 0 {
					t.Errorf("%d bytes sent without a cookie", sent)
				}
				s, _ := mustAccept(t, l)
				talk(t, c, s, "late")

				c, sent = mustConnect(t, to, request, o)
				if sent != len(request) {
					t.Fatalf("%d bytes sent with a cookie", sent)
				}
				s, _ = mustAccept(t, l)
				hear(t, s, string(request))
				talk(t, s, c, "answer")
				talk(t, c, s, "more")
				want := client == ModePrefer && server == ModePrefer
				for end, fd := range map[string]int{"client": c, "server": s} {
					if status, err := Negotiated(fd); err != nil || status.MPTCP != want {
						t.Errorf("%s: %+v, %v; want MPTCP %t", end, status, err, want)
					}
				}
				if info, err := TCPInfoOf(c); err != nil || info.FastOpenFailure != 0 || info.BytesRetrans != 0 {
					t.Errorf("client: %+v, %v", info, err)
				}
			})
		}
	}
}

// The kernel takes more than fits into the SYN, and sends it afterwards.
func TestFastOpenMuchData(t *testing.T) {
	l, to := fastOpenNamespace(t, ModePrefer)
	o := ConnectOptions{Mode: ModePrefer, FastOpen: true}
	mustConnect(t, to, []byte("?"), o)
	mustAccept(t, l)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	c, sent := mustConnect(t, to, data, o)
	if sent == 0 || sent == len(data) {
		t.Fatalf("%d of %d bytes sent", sent, len(data))
	}
	s, _ := mustAccept(t, l)
	for rest := data[sent:]; ; {
		n, err := unix.Write(c, rest)
		if err == nil {
			rest = rest[n:]
		} else if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		if len(rest) == 0 {
			break
		}
		hear(t, s, string(data[:1024]))
		data = data[1024:]
	}
	hear(t, s, string(data))
	if status, err := Negotiated(s); err != nil || !status.MPTCP {
		t.Errorf("server: %+v, %v", status, err)
	}
}

// Linux cannot keep MPTCP on a connection whose SYN's data was not taken, and
// whoever asks is told that it was not the peer's fault.
func TestFastOpenCostsMPTCP(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, lfd int, port uint16){
		"cookie stale": func(t *testing.T, _ int, _ uint16) {
			sysctl(t, "ipv4/tcp_fastopen_key", "12345678-12345678-12345678-12345679")
		},
		"server without": func(t *testing.T, lfd int, _ uint16) {
			if err := unix.SetsockoptInt(lfd, unix.SOL_TCP, unix.TCP_FASTOPEN, 0); err != nil {
				t.Fatal(err)
			}
		},
		"data dropped": func(t *testing.T, _ int, port uint16) {
			nft(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == syn meta length > 80 drop;", port))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, to := fastOpenNamespace(t, ModePrefer)
			o := ConnectOptions{Mode: ModePrefer, FastOpen: true}
			request := "a request longer than what is left of a packet of eighty bytes"
			mustConnect(t, to, []byte(request), o)
			mustAccept(t, l)
			spoil(t, l.FD, to.Port())
			c, sent := mustConnect(t, to, []byte(request), o)
			if sent != len(request) {
				t.Fatalf("%d bytes sent", sent)
			}
			s, _ := mustAccept(t, l)
			hear(t, s, request)
			talk(t, s, c, "answer")
			if status, err := Dialed(c, ModePrefer); err != nil || status != (Status{Reason: FastOpen}) {
				t.Errorf("client: %+v, %v; want reason %s", status, err, FastOpen)
			}
			if reason, err := Explain(c); err != nil || reason != FastOpen {
				t.Errorf("explained: %s, %v", reason, err)
			}
		})
	}
}

// While its SYN is unanswered a socket is not writable, cookie or not.
func TestFastOpenPending(t *testing.T) {
	_, to := fastOpenNamespace(t, ModePrefer)
	for _, m := range []Mode{ModePrefer, ModeOff} {
		o := ConnectOptions{Mode: m, FastOpen: true}
		nft(t, "")
		mustConnect(t, to, []byte("?"), o)
		nft(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == syn drop;", to.Port()))
		fd, sent, err := StartConnect(to, []byte("early"), o)
		if err != nil || sent != 5 {
			t.Fatalf("mode %s: %d, %v", m, sent, err)
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p, 50); n != 0 || err != nil {
			t.Errorf("mode %s: poll %d, %v, %#x", m, n, err, p[0].Revents)
		}
		if err := ConnectError(fd); err != nil {
			t.Errorf("mode %s: %v", m, err)
		}
		if n, err := unix.Write(fd, []byte("more")); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("mode %s: wrote %d, %v", m, n, err)
		}
		unix.Close(fd)
	}
}

func TestFastOpenNotAllowed(t *testing.T) {
	_, to := fastOpenNamespace(t, ModePrefer)
	sysctl(t, "ipv4/tcp_fastopen", "0")
	for _, m := range []Mode{ModePrefer, ModeOff} {
		if _, sent := mustConnect(t, to, []byte("early"), ConnectOptions{Mode: m, FastOpen: true}); sent != 0 {
			t.Errorf("mode %s: %d bytes sent", m, sent)
		}
	}
}
