// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
)

// BenchmarkConnect makes connections over the loopback interface, of which both
// ends are adopted, and ends them.
func BenchmarkConnect(b *testing.B) {
	for _, source := range []string{"no engine", "netlink", "eBPF"} {
		b.Run(source, func(b *testing.B) {
			h, err := labtest.New(b).Host("a")
			if err != nil {
				b.Fatal(err)
			}
			ns := netns.None()
			if err := h.Do(func() (err error) { ns, err = netns.Get(); return err }); err != nil {
				b.Fatal(err)
			}
			defer ns.Close()
			var e *Engine
			if source != "no engine" {
				o := Options{NetNS: int(ns)}
				if source == "eBPF" {
					p, err := bpf.Open(bpf.Options{Events: true})
					if err != nil {
						b.Skip(err)
					}
					defer p.Close()
					o.Events = p.Events()
				}
				if e, err = New(o); err != nil {
					b.Fatal(err)
				}
				defer e.Close()
			}
			before := processorTime(b)
			if err := h.Do(func() error { return connections(b, e) }); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func connections(b *testing.B, e *Engine) error {
	ln, err := mptcp.NewListener(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Mode: mptcp.ModeRequire})
	if err != nil {
		return err
	}
	defer ln.Close()
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}}
	byte1 := make([]byte, 1)
	for b.Loop() {
		c, err := d.DialContext(b.Context(), "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		s, err := ln.AcceptTCP()
		if err != nil {
			return err
		}
		var tokens []uint32
		for i, end := range []*net.TCPConn{c.TCPConn, s} {
			token := tokenOf(b, end)
			tokens = append(tokens, token)
			if e != nil {
				e.Adopt(token, &Policy{}, i == 0)
			}
		}
		for _, ends := range [][2]*net.TCPConn{{c.TCPConn, s}, {s, c.TCPConn}} {
			if _, err := ends[0].Write(byte1); err != nil {
				return err
			}
			if _, err := ends[1].Read(byte1); err != nil {
				return err
			}
		}
		if e != nil {
			e.Forget(tokens[0])
			e.Forget(tokens[1])
		}
		c.SetLinger(0) // no TIME-WAIT
		c.Close()
		s.Close()
	}
	return nil
}
