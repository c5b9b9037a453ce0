// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// BenchmarkConnect opens and closes connections on loopback, both ends of
// which are this process'.
func BenchmarkConnect(b *testing.B) {
	nothing := func(uint16, netip.AddrPort) {}
	b.Run("TCP/without", func(b *testing.B) { benchConnect(b, mptcp.ModeOff, nothing) })
	b.Run("TCP/attached", func(b *testing.B) {
		p := open(b, Options{})
		defer reportRuntime(b, p.synacks.objects.TandemSynack)()
		benchConnect(b, mptcp.ModeOff, nothing)
	})
	b.Run("TCP/asked", func(b *testing.B) {
		p := open(b, Options{})
		var options []byte
		benchConnect(b, mptcp.ModeOff, func(local uint16, remote netip.AddrPort) {
			var ok bool
			if options, ok = p.SYNACKs().AppendOptions(options[:0], local, remote); !ok {
				b.Fatal("not known")
			}
		})
	})
	b.Run("MPTCP/without", func(b *testing.B) { benchConnect(b, mptcp.ModeRequire, nothing) })
	b.Run("MPTCP/events", func(b *testing.B) {
		p := openEvents(b, Options{})
		defer p.Close()
		read := make(chan int)
		go func() {
			evs := make([]Event, 256)
			total := 0
			for {
				n, err := p.Events().ReadAll(evs)
				total += n
				if err != nil {
					read <- total
					return
				}
			}
		}()
		report := reportRuntime(b, p.events.objects.TandemEvents, p.events.objects.TandemClosed)
		benchConnect(b, mptcp.ModeRequire, nothing)
		report()
		b.ReportMetric(float64(p.Events().Lost()), "lost")
		p.Close()
		b.ReportMetric(float64(<-read)/float64(b.N), "events/op")
	})
}

// reportRuntime measures what the programs take of each connection.
func reportRuntime(b *testing.B, programs ...*ebpf.Program) (report func()) {
	b.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		var total time.Duration
		for _, p := range programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			total += s.Runtime
		}
		stats.Close()
		b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "program-ns/op")
	}
}

func benchConnect(b *testing.B, mode mptcp.Mode, ask func(local uint16, remote netip.AddrPort)) {
	to := serve(b, netip.MustParseAddr("127.0.0.1"), mode)
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mode}}
	b.ReportAllocs()
	for b.Loop() {
		c, err := d.DialContext(b.Context(), "tcp", to.String())
		if err != nil {
			b.Fatal(err)
		}
		ask(c.LocalAddr().(*net.TCPAddr).AddrPort().Port(), to)
		c.SetLinger(0) // leaves no TIME-WAIT, of which there is a limited number
		c.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connections/s")
}
