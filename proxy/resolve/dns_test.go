// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// verdict is what a name server says to a question.
type verdict struct {
	code     dnsmessage.RCode
	addrs    []string
	truncate bool // over UDP, so that the client comes back over TCP
	silent   bool
	after    <-chan struct{} // answer once this is closed
}

// nameServer is a name server on the loopback interface.
type nameServer struct {
	addr   netip.AddrPort
	decide func(name string, f Family) verdict

	mu        sync.Mutex
	questions []string
}

// listenBoth listens on a port that is free for UDP and for TCP.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		udp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

func serveNames(t *testing.T, decide func(name string, f Family) verdict) *nameServer {
	t.Helper()
	udp, tcp := listenBoth(t)
	s := &nameServer{addr: udp.LocalAddr().(*net.UDPAddr).AddrPort(), decide: decide}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			b := make([]byte, 1500)
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			wg.Go(func() {
				if a := s.answer(t, b[:n], false); a != nil {
					_, _ = udp.WriteTo(a, from) // the asker may be gone
				}
			})
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				a := s.answer(t, b, true)
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
			})
		}
	})
	return s
}

// asked returns the questions heard so far.
func (s *nameServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.questions...)
}

func (s *nameServer) answer(t *testing.T, query []byte, stream bool) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		t.Errorf("bad query: %v", err)
		return nil
	}
	q := m.Questions[0]
	f := IPv4
	if q.Type == dnsmessage.TypeAAAA {
		f = IPv6
	}
	s.mu.Lock()
	s.questions = append(s.questions, q.Name.String()+" "+q.Type.String())
	s.mu.Unlock()
	v := s.decide(strings.TrimSuffix(q.Name.String(), "."), f)
	if v.silent {
		return nil
	}
	if v.after != nil {
		<-v.after
	}
	r := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: v.code}, Questions: m.Questions}
	if v.truncate && !stream {
		r.Truncated = true
		v.addrs = nil
	}
	for _, a := range v.addrs {
		ip := netip.MustParseAddr(a)
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
		if ip.Is4() && f == IPv4 {
			r.Answers = append(r.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}})
		} else if ip.Is6() && f == IPv6 {
			r.Answers = append(r.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	b, err := r.Pack()
	if err != nil {
		t.Errorf("pack answer: %v", err)
		return nil
	}
	return b
}
