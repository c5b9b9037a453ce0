// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

const (
	probeSize = 100
	bulkSize  = 1472 // fills an MTU of 1500
	// bulkSegments are sent by one call, which the device may take as one.
	bulkSegments = 16
	// overhead of a UDP packet on Ethernet.
	overhead = 14 + 20 + 8
	// quiet is how long nothing comes before a measurement ends.
	quiet = 500 * time.Millisecond
)

// meter sends from one end of a link and receives at the other.
type meter struct {
	link  *lab.Link
	which emulator.Direction
	from  *net.UDPConn
	to    *net.UDPConn
	run   uint32 // tells late packets of an earlier measurement
}

// newMeter makes a link to measure from A to B.
func newMeter(l *lab.Lab) (*meter, error) {
	a, err := l.Host("a")
	if err != nil {
		return nil, err
	}
	b, err := l.Host("b")
	if err != nil {
		return nil, err
	}
	link, err := l.Link(a, b, "eth0", "eth0", []netip.Prefix{addrA}, []netip.Prefix{addrB}, lab.LinkSpec{Emulate: true, Seed: 1})
	if err != nil {
		return nil, err
	}
	return openMeter(link, emulator.AToB, a, b, addrB.Addr())
}

// reverse measures the other direction of the same link.
func (m *meter) reverse() (*meter, error) {
	return openMeter(m.link, emulator.BToA, m.link.B.Host, m.link.A.Host, addrA.Addr())
}

func openMeter(link *lab.Link, which emulator.Direction, a, b *lab.Host, to netip.Addr) (*meter, error) {
	m := &meter{link: link, which: which}
	err := b.Do(func() (err error) {
		m.to, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	m.to.SetReadBuffer(4 << 20)
	err = a.Do(func() (err error) {
		m.from, err = net.DialUDP("udp4", nil, m.to.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err == nil {
		err = segment(m.from, bulkSize)
	}
	if err != nil {
		m.to.Close()
		return nil, err
	}
	return m, nil
}

// segment lets the kernel split what is written into datagrams of a size.
func segment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	if err := raw.Control(func(fd uintptr) {
		errno = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
	}); err != nil {
		return err
	}
	return errno
}

func (m *meter) close() {
	m.from.Close()
	m.to.Close()
}

func (m *meter) reset(c emulator.Conditions) error {
	m.run++
	return m.link.Change(m.which, func(old *emulator.Conditions) { *old = c })
}

// arrival is a probe that has arrived.
type arrival struct {
	seq   uint32
	delay time.Duration
}

type arrivals []arrival

// probe sends n small packets at the given distance.
func (m *meter) probe(ctx context.Context, c emulator.Conditions, n int, distance time.Duration) (arrivals, error) {
	if err := m.reset(c); err != nil {
		return nil, err
	}
	epoch := time.Now()
	sent := make(chan error, 1)
	go func() {
		buf := make([]byte, probeSize)
		binary.BigEndian.PutUint32(buf, m.run)
		for i := range n {
			if d := time.Until(epoch.Add(time.Duration(i) * distance)); d > 0 {
				time.Sleep(d)
			}
			binary.BigEndian.PutUint32(buf[4:], uint32(i))
			binary.BigEndian.PutUint64(buf[8:], uint64(time.Since(epoch)))
			_, err := m.from.Write(buf)
			if err = errors.Join(err, ctx.Err()); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	var got arrivals
	err := m.receive(c.Delay+2*distance, sent, func(p []byte) {
		delay := time.Since(epoch) - time.Duration(binary.BigEndian.Uint64(p[8:]))
		got = append(got, arrival{binary.BigEndian.Uint32(p[4:]), delay})
	})
	return got, err
}

// receive calls each for the packets of this run until sending has ended and
// nothing has come for a while. It waits for the sender in any case.
func (m *meter) receive(extra time.Duration, sent <-chan error, each func([]byte)) error {
	buf := make([]byte, 2048)
	done := false
	for {
		m.to.SetReadDeadline(time.Now().Add(quiet + extra))
		n, err := m.to.Read(buf)
		if err == nil {
			if n >= 16 && binary.BigEndian.Uint32(buf) == m.run {
				each(buf[:n])
			}
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.Join(err, <-sent)
		}
		if done {
			return nil
		}
		if err := <-sent; err != nil {
			return err
		}
		done = true
	}
}

// throughput sends faster than the rate for a while and measures what arrives,
// in bit/s, between the first packet and the last.
func (m *meter) throughput(ctx context.Context, rate uint64, d time.Duration) (float64, error) {
	sent := make(chan error, 1)
	epoch := time.Now()
	go func() {
		buf := make([]byte, bulkSize*bulkSegments)
		for i := range bulkSegments {
			binary.BigEndian.PutUint32(buf[i*bulkSize:], m.run)
		}
		offered := float64(rate) * 1.2 / 8 / (bulkSize + overhead) // packets per second
		for i := 0; time.Since(epoch) < d; {
			due := int(time.Since(epoch).Seconds()*offered) + 1
			for i < due {
				n := min(due-i, bulkSegments)
				i += n
				if _, err := m.from.Write(buf[:n*bulkSize]); err != nil {
					sent <- err
					return
				}
			}
			if ctx.Err() != nil {
				break
			}
			time.Sleep(200 * time.Microsecond)
		}
		sent <- ctx.Err()
	}()
	var first, last time.Time
	packets := 0
	err := m.receive(0, sent, func([]byte) {
		last = time.Now()
		if packets == 0 {
			first = last
		}
		packets++
	})
	if err == nil && packets < 2 {
		err = errors.New("nothing came through")
	}
	if err != nil {
		return 0, err
	}
	return float64(packets-1) * (bulkSize + overhead) * 8 / last.Sub(first).Seconds(), nil
}

// delays are those of the probes in ms, sorted.
func (a arrivals) delays() []float64 {
	d := make([]float64, len(a))
	for i, p := range a {
		d[i] = millis(p.delay)
	}
	slices.Sort(d)
	return d
}

// lostRun is the mean length of runs of probes that are missing between others.
func (a arrivals) lostRun() float64 {
	runs, lost := 0, 0
	for i := 1; i < len(a); i++ {
		if missing := int(a[i].seq) - int(a[i-1].seq) - 1; missing > 0 {
			runs++
			lost += missing
		}
	}
	return float64(lost) / float64(max(runs, 1))
}

// after are those with at least a sequence number.
func (a arrivals) after(seq int) arrivals {
	var late arrivals
	for _, p := range a {
		if int(p.seq) >= seq {
			late = append(late, p)
		}
	}
	return late
}

// overtaken is the share in percent of probes that came after a later one.
func (a arrivals) overtaken() float64 {
	n, highest := 0, uint32(0)
	for _, p := range a {
		if p.seq < highest {
			n++
		}
		highest = max(highest, p.seq)
	}
	return 100 * float64(n) / float64(max(len(a), 1))
}

// early is the share in percent of probes that took less than a time in ms.
func (a arrivals) early(than float64) float64 {
	n := 0
	for _, p := range a {
		if millis(p.delay) < than {
			n++
		}
	}
	return 100 * float64(n) / float64(max(len(a), 1))
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}
