// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/relay/relaytest"
)

// A benchmark's sources and sinks run in a process of their own, so that the
// CPU time and the allocations counted are those of the relay.
const (
	peersEnv  = "TANDEM_RELAY_BENCH_PEERS"
	peersUnit = 64 << 20 // the peers report each time this has arrived
	peersFD   = 3        // the first of pairs of connections: source, sink
)

// peers is the main function of that process: it sends on one connection of
// each of n pairs what arrives on the other.
func peers(n int) {
	var arrived atomic.Int64
	for i := range n {
		source, sink := inherited(2*i), inherited(2*i+1)
		go func() {
			b := make([]byte, 1<<20)
			for {
				if _, err := source.Write(b); err != nil {
					os.Exit(0)
				}
			}
		}()
		go func() {
			b := make([]byte, 1<<20)
			for {
				n, err := sink.Read(b)
				if err != nil {
					os.Exit(0)
				}
				total := arrived.Add(int64(n))
				for range total/peersUnit - (total-int64(n))/peersUnit {
					os.Stdout.Write([]byte{1})
				}
			}
		}()
	}
	// The benchmark ends them by closing their input.
	io.Copy(io.Discard, os.Stdin)
}

func inherited(i int) net.Conn {
	c, err := net.FileConn(os.NewFile(uintptr(peersFD+i), ""))
	if err != nil {
		panic(err)
	}
	return c
}

// drive lets peers send over pairs of connections and counts units.
func drive(b *testing.B, pairs [][2]*net.TCPConn) {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", peersEnv, len(pairs)))
	cmd.Stderr = os.Stderr
	for _, p := range pairs {
		for _, c := range p {
			f, err := c.File()
			if err != nil {
				b.Fatal(err)
			}
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
	}
	stop, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	progress, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	// Were they open here as well, each of their events would wake this
	// process up.
	for i, p := range pairs {
		for j, c := range p {
			c.Close()
			cmd.ExtraFiles[2*i+j].Close()
		}
	}
	defer cmd.Wait()
	defer stop.Close()
	var unit [1]byte
	for range 4 { // the flow finds its speed
		io.ReadFull(progress, unit[:])
	}
	b.SetBytes(peersUnit)
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		if _, err := io.ReadFull(progress, unit[:]); err != nil {
			b.Fatal(err)
		}
	}
	used := cpuTime() - before
	gigabytes := float64(b.N) * peersUnit / 1e9
	b.ReportMetric(gigabytes*8/b.Elapsed().Seconds(), "Gbit/s")
	b.ReportMetric(used.Seconds()/gigabytes, "cpu-s/GB")
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// way joins a new connection, from source to sink.
type way func(b *testing.B, r *rig, l relaytest.Legs, up bool) [2]*net.TCPConn

// direct has no relay: both ends of the client's leg.
func direct(b *testing.B, r *rig, l relaytest.Legs, up bool) [2]*net.TCPConn {
	var client, server *net.TCPConn
	err := r.within(func() (err error) {
		far, err := r.ear(relay.Server, l.Client)
		if err == nil {
			client, server, err = r.connect(far, l.Client)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return ends(b, client, server, up)
}

// ends puts source and sink in order and closes both at the end.
func ends(b *testing.B, client, server *net.TCPConn, up bool) [2]*net.TCPConn {
	b.Cleanup(func() {
		client.Close()
		server.Close()
	})
	if up {
		return [2]*net.TCPConn{client, server}
	}
	return [2]*net.TCPConn{server, client}
}

// ioCopy is what a plain Go relay does.
func ioCopy(b *testing.B, r *rig, l relaytest.Legs, up bool) [2]*net.TCPConn {
	var client, server *net.TCPConn
	var fds [2]int
	err := r.within(func() (err error) {
		client, server, fds, err = r.legs(l)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var conns [2]*net.TCPConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = c.(*net.TCPConn)
		b.Cleanup(func() { c.Close() })
	}
	for i := range conns {
		go func() { io.Copy(conns[i], conns[1-i]) }()
	}
	return ends(b, client, server, up)
}

func paired(b *testing.B, r *rig, l relaytest.Legs, up bool) [2]*net.TCPConn {
	c, err := r.Join(relaytest.Request{Legs: l})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Client.Close()
		c.Server.Close()
		<-c.Ended
	})
	return ends(b, c.Client, c.Server, up)
}

// BenchmarkBulk moves bytes over loopback.
func BenchmarkBulk(b *testing.B) {
	within := loopback(b, 65536)
	ways := []struct {
		name string
		join way
	}{{"direct", direct}, {"io.Copy", ioCopy}, {"pair", paired}}
	for _, legs := range relaytest.AllLegs {
		for _, up := range []bool{true, false} {
			direction := "down"
			if up {
				direction = "up"
			}
			for _, n := range []int{1, 8} {
				for _, w := range ways {
					b.Run(fmt.Sprintf("%v %s/%d/%s", legs, direction, n, w.name), func(b *testing.B) {
						r := newRig(b, within)
						var pairs [][2]*net.TCPConn
						for range n {
							pairs = append(pairs, w.join(b, r, legs, up))
						}
						drive(b, pairs)
					})
				}
			}
		}
	}
}
