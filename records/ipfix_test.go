// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.UnixMilli(1_800_000_000_123)

func example() entry {
	return entry{proxy.Record{
		Listener: "phones", Client: netip.MustParseAddrPort("192.0.2.7:40000"), User: "alice", Host: "www.example.com",
		Server: netip.MustParseAddrPort("198.51.100.80:443"), Local: netip.MustParseAddrPort("203.0.113.1:50000"), Hop: "direct", ServerMPTCP: mptcp.Status{Reason: mptcp.NotAsked},
		Served: true, Start: began, Duration: 1500 * time.Millisecond, Up: 100, Down: 5_000_000_000,
	}, "0123456789abcdef0123456789abcdef"}
}

// collecting decodes IPFIX as RFC 7011 has it, from nothing but the bytes.
type collecting struct {
	templates map[uint16][]field
	next      uint32 // sequence number
	records   []map[uint16][]byte
}

func (c *collecting) message(b []byte) error {
	if len(b) < 16 || binary.BigEndian.Uint16(b) != 10 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return fmt.Errorf("header % x of %d bytes", b[:min(len(b), 16)], len(b))
	}
	if n := binary.BigEndian.Uint32(b[8:]); n != c.next {
		return fmt.Errorf("sequence number %d, want %d", n, c.next)
	}
	for b = b[16:]; len(b) > 0; {
		if len(b) < 4 {
			return errors.New("rest of a set")
		}
		id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return fmt.Errorf("set of %d bytes in %d", n, len(b))
		}
		var err error
		if id == 2 {
			err = c.template(b[4:n])
		} else {
			err = c.data(id, b[4:n])
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (c *collecting) template(b []byte) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errors.New("rest of a template")
		}
		id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; id < 256 || len(b) < 4*n {
			return fmt.Errorf("template %d with %d fields in %d bytes", id, n, len(b))
		}
		var fields []field
		for range n {
			fields = append(fields, field{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])})
			b = b[4:]
		}
		c.templates[id] = fields
	}
	return nil
}

func (c *collecting) data(id uint16, b []byte) error {
	fields := c.templates[id]
	if fields == nil {
		return fmt.Errorf("data without template %d", id)
	}
	for len(b) > 0 {
		record := map[uint16][]byte{}
		for _, f := range fields {
			n := int(f.length)
			if f.length == 0xffff {
				if len(b) < 1 {
					return errors.New("no length")
				}
				n, b = int(b[0]), b[1:]
				if n == 255 {
					if len(b) < 2 {
						return errors.New("no long length")
					}
					n, b = int(binary.BigEndian.Uint16(b)), b[2:]
				}
			}
			if len(b) < n {
				return fmt.Errorf("element %d of %d bytes in %d", f.element, n, len(b))
			}
			record[f.element], b = b[:n:n], b[n:]
		}
		c.records = append(c.records, record)
		c.next++
	}
	return nil
}

// check compares what was decoded with what was to be encoded.
func (c *collecting) check(t *testing.T, batch []entry) {
	t.Helper()
	if len(c.records) != len(batch) {
		t.Fatalf("%d records, want %d", len(c.records), len(batch))
	}
	number := func(b []byte) (n uint64) {
		for _, x := range b {
			n = n<<8 | uint64(x)
		}
		return n
	}
	for i, got := range c.records {
		r := &batch[i].record
		numbers := map[uint16]uint64{
			152: uint64(r.Start.UnixMilli()), 153: uint64(r.Start.Add(r.Duration).UnixMilli()),
			7: uint64(r.Client.Port()), 11: uint64(r.Server.Port()), 227: uint64(r.Local.Port()), 228: uint64(r.Server.Port()),
			231: r.Up, 232: r.Down, 4: 6, 136: uint64(endReasons[endingOf(r.Err)]),
		}
		if r.Command == proxy.Associate {
			numbers[4] = 17
		}
		for element, want := range numbers {
			if n := number(got[element]); n != want {
				t.Errorf("record %d: element %d is %d, want %d", i, element, n, want)
			}
		}
		for _, a := range []struct {
			v4, v6 uint16
			want   netip.Addr
		}{{8, 27, r.Client.Addr()}, {12, 28, r.Server.Addr()}, {225, 281, r.Local.Addr()}, {226, 282, r.Server.Addr()}} {
			addr, _ := netip.AddrFromSlice(append(got[a.v4], got[a.v6]...))
			want := a.want.Unmap().WithZone("")
			if !want.IsValid() {
				want = netip.IPv4Unspecified()
			}
			if addr != want {
				t.Errorf("record %d: element %d or %d is %v, want %v", i, a.v4, a.v6, addr, want)
			}
		}
		if user := string(got[371]); user != r.User[:min(len(r.User), 255)] {
			t.Errorf("record %d: user %q, want %q", i, user, r.User)
		}
	}
}

func newCollecting() *collecting { return &collecting{templates: map[uint16][]field{}} }

// TestWire is one message written down by hand.
func TestWire(t *testing.T) {
	e, b := encoder{domain: 7}, []byte(nil)
	if _, err := e.messages([]entry{example()}, false, time.Unix(1_800_000_002, 0), func(m []byte) error { b = append(b, m...); return nil }); err != nil {
		t.Fatal(err)
	}
	want := "000a0054" + "6b49d202" + "00000000" + "00000007" + // version, length, time, sequence number, domain
		"01000044" + // template 256, length
		"000001a3185c507b" + "000001a3185c5657" + // from, until
		"c0000207" + "9c40" + "c6336450" + "01bb" + // client, server
		"cb007101" + "c350" + "c6336450" + "01bb" + // the same after translation
		"06" + "03" + // TCP, end of flow detected
		"0000000000000064" + "000000012a05f200" + // up, down
		"05" + hex.EncodeToString([]byte("alice"))
	if d := cmp.Diff(want, hex.EncodeToString(b)); d != "" {
		t.Errorf("message (-want +got):\n%s", d)
	}
}

func TestManyRecordsOfAllFamilies(t *testing.T) {
	var batch []entry
	addresses := []string{"192.0.2.1:1", "[2001:db8::1]:2", "[::ffff:192.0.2.2]:3"}
	for i := range 300 {
		e := example()
		e.record.Client = netip.MustParseAddrPort(addresses[i%3])
		e.record.Server = netip.MustParseAddrPort(addresses[i/3%3])
		e.record.Local = netip.MustParseAddrPort(addresses[i/9%3])
		if i%50 == 7 {
			e.record.Server, e.record.Local, e.record.Err = netip.AddrPort{}, netip.AddrPort{}, relay.ErrIdle
		}
		if i%50 == 8 {
			e.record.Command, e.record.Err = proxy.Associate, proxy.ErrKicked
		}
		batch = append(batch, e)
	}
	c := newCollecting()
	e := encoder{}
	n, err := e.messages(batch, true, began, func(m []byte) error {
		if len(m) > maxMessage {
			t.Errorf("a message of %d bytes", len(m))
		}
		return c.message(append([]byte(nil), m...))
	})
	if n != len(batch) || err != nil {
		t.Fatalf("%d sent, error %v", n, err)
	}
	c.check(t, batch)
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, []byte(nil), "alice", uint64(1), int64(5), uint8(3))
	f.Add(make([]byte, 16), []byte{192, 0, 2, 2}, make([]byte, 16), string(make([]byte, 300)), uint64(1<<63), int64(-5), uint8(1))
	f.Fuzz(func(t *testing.T, client, server, local []byte, user string, up uint64, ms int64, count uint8) {
		e := example()
		set := func(a *netip.AddrPort, b []byte) {
			ip, _ := netip.AddrFromSlice(b)
			*a = netip.AddrPortFrom(ip, a.Port())
		}
		set(&e.record.Client, client)
		set(&e.record.Server, server)
		set(&e.record.Local, local)
		e.record.User, e.record.Up = user, up
		e.record.Start = time.UnixMilli(ms % (1 << 40))
		var batch []entry
		for range count {
			batch = append(batch, e)
		}
		c, enc := newCollecting(), encoder{}
		if _, err := enc.messages(batch, true, began, func(m []byte) error { return c.message(append([]byte(nil), m...)) }); err != nil {
			t.Fatal(err)
		}
		c.check(t, batch)
	})
}

func FuzzDecoder(f *testing.F) {
	enc := encoder{}
	_, _ = enc.messages([]entry{example()}, true, began, func(m []byte) error { f.Add(m); return nil })
	f.Fuzz(func(_ *testing.T, b []byte) { _ = newCollecting().message(b) })
}
