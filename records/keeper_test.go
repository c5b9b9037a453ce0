// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
)

// read reads a file of records.
func read(t *testing.T, path string) (users []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v: %s", path, err, line)
		}
		users = append(users, l.User)
	}
	return users
}

func named(users ...string) (batch []entry) {
	for _, u := range users {
		e := example()
		e.record.User = u
		batch = append(batch, e)
	}
	return batch
}

func TestFilesArePutAsideBySize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "flows.json")
	one := new(lineEncoder).append(nil, &named("a")[0])
	f, err := openFile(FileOptions{Path: path, MaxSize: 2 * int64(len(one)), Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, batch := range [][]entry{named("a"), named("b", "c", "d", "e", "f"), named("g")} {
		if n, err := f.write(batch); n != len(batch) || err != nil {
			t.Fatalf("%d written, error %v", n, err)
		}
	}
	got := [][]string{read(t, path), read(t, path+".1"), read(t, path+".2")}
	if d := cmp.Diff([][]string{{"g"}, {"e", "f"}, {"c", "d"}}, got); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("a third file was kept")
	}
}

func TestFilesArePutAsideByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.json")
	f, err := openFile(FileOptions{Path: path, MaxAge: time.Hour, Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	now := f.since
	f.now = func() time.Time { return now }
	for _, user := range []string{"a", "b", "c"} {
		if _, err := f.write(named(user)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40 * time.Minute)
	}
	if d := cmp.Diff([][]string{{"c"}, {"a", "b"}}, [][]string{read(t, path), read(t, path+".1")}); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func TestAFullDiskIsCounted(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	k, err := NewKeeper(Options{File: FileOptions{Path: "/dev/full"}})
	if err != nil {
		t.Fatal(err)
	}
	e := example()
	k.Keep(&e.record, "")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if s := k.Stats(); s != (Stats{Failed: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestALineThatIsCutOffSpoilsNoOther fills a disk, with a line cut off at its end,
// and goes on when there is room again.
func TestALineThatIsCutOffSpoilsNoOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have a disk that is soon full")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	other := filepath.Join(disk, "other")
	if err := os.WriteFile(other, make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(disk, "flows.json")
	f, err := openFile(FileOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for i := range 50 {
		users = append(users, fmt.Sprint(i))
	}
	n, err := f.write(named(users...))
	if !errors.Is(err, unix.ENOSPC) || n == 0 || n == len(users) {
		t.Fatalf("%d records of %d, %v", n, len(users), err)
	}
	if _, err := f.write(named("lost")); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"again", "and again"} {
		if _, err := f.write(named(user)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	whole, torn := wholeLines(t, path)
	if want := append(users[:n:n], "again", "and again"); !slices.Equal(whole, want) || torn != 1 {
		t.Errorf("%d torn lines, and records of %v; want %v", torn, whole, want)
	}
}

// TestALineThatWasCutOffBefore is that of a machine that has ended.
func TestALineThatWasCutOffBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.json")
	if err := os.WriteFile(path, new(lineEncoder).append(nil, &named("cut off")[0])[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"a", "b"} { // of two processes, one after the other
		f, err := openFile(FileOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.write(named(user)); err != nil {
			t.Fatal(err)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
	if whole, torn := wholeLines(t, path); !slices.Equal(whole, []string{"a", "b"}) || torn != 1 {
		t.Errorf("%d torn lines, and records of %v", torn, whole)
	}
}

// wholeLines returns the users of the lines that are whole, and how many others
// there are.
func wholeLines(t *testing.T, path string) (users []string, torn int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l Line
		if json.Unmarshal([]byte(line), &l) != nil {
			torn++
			continue
		}
		users = append(users, l.User)
	}
	return users, torn
}

// TestRecordsThatHaveNoRoomAreCounted stops the writer with a pipe that nobody
// reads. Keep goes on.
func TestRecordsThatHaveNoRoomAreCounted(t *testing.T) {
	k, err := NewKeeper(Options{Room: 10})
	if err != nil {
		t.Fatal(err)
	}
	stuck, goOn := make(chan int, 100), make(chan struct{})
	k.sinks = append(k.sinks, slow{stuck, goOn})
	const more = 100
	for range 10 {
		k.Keep(&proxy.Record{}, "")
	}
	taken := <-stuck
	for range more {
		k.Keep(&proxy.Record{}, "")
	}
	close(goOn)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if s := k.Stats(); s.Dropped < more-10-uint64(10-taken) || s.Written+s.Dropped != 10+more {
		t.Errorf("%+v of %d", s, 10+more)
	}
}

type slow struct {
	stuck chan int
	goOn  chan struct{}
}

func (s slow) write(batch []entry) (int, error) {
	s.stuck <- len(batch)
	<-s.goOn
	return len(batch), nil
}

func (slow) close() error { return nil }

func TestCollectorOverUDP(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x := newExporter(netip.MustParseAddrPort(l.LocalAddr().String()), ExporterOptions{Templates: time.Minute})
	defer x.close()
	now := began
	x.now = func() time.Time { return now }
	c, all := newCollecting(), named("a", "b", "c")
	buffer := make([]byte, 65536)
	for i := range all {
		if _, err := x.write(all[i : i+1]); err != nil {
			t.Fatal(err)
		}
		l.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, _, err := l.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if i != 1 {
			clear(c.templates) // they have to come again after a minute
		}
		if err := c.message(append([]byte(nil), buffer[:n]...)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40 * time.Second)
	}
	c.check(t, all)
}

func TestCollectorOverTCPComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x := newExporter(netip.MustParseAddrPort(l.Addr().String()), ExporterOptions{TCP: true})
	defer x.close()
	now := time.Now()
	x.now = func() time.Time { now = now.Add(time.Second); return now } // rests end
	for i := range 2 {
		batch := named(fmt.Sprint("a", i), "b")
		// The first writes after the collector has gone may seem to work.
		sent := false
		for range 1000 {
			if n, err := x.write(batch); err == nil && n == len(batch) && (i == 0 || x.encoder.sequence == 2) {
				sent = true
				break
			}
		}
		if !sent {
			t.Fatal("not sent")
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		c, header := newCollecting(), make([]byte, 4)
		if _, err := io.ReadFull(conn, header); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, binary.BigEndian.Uint16(header[2:])-4)
		if _, err := io.ReadFull(conn, rest); err != nil {
			t.Fatal(err)
		}
		if err := c.message(append(header, rest...)); err != nil {
			t.Fatal(err)
		}
		c.check(t, batch)
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// A collector that was waited for in vain is left alone for a while, because
// others wait meanwhile.
func TestSilentCollectorIsLeftAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	x := newExporter(netip.MustParseAddrPort(address), ExporterOptions{TCP: true})
	defer x.close()
	now, took := time.Now(), sendTimeout
	x.now = func() time.Time { defer func() { now = now.Add(took) }(); return now }
	batch := named("a")
	if n, err := x.write(batch); n != 0 || !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("%d sent, %v", n, err)
	}
	took = 0
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	now = x.rests.Add(-time.Nanosecond)
	if n, err := x.write(batch); n != 0 || !errors.Is(err, unix.ECONNREFUSED) || x.conn != nil {
		t.Errorf("before the rest was over: %d sent, %v", n, err)
	}
	now = x.rests
	if n, err := x.write(batch); n != len(batch) || err != nil {
		t.Errorf("after it: %d sent, %v", n, err)
	}
}

// TestWhatIsKept: nothing of checks, and each address that servers have seen.
func TestWhatIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.json")
	k, err := NewKeeper(Options{File: FileOptions{Path: path}})
	if err != nil {
		t.Fatal(err)
	}
	check, refused, datagrams := example().record, example().record, example().record
	check.Command = proxy.Inform
	refused.Command, refused.Served = proxy.Inform, false
	datagrams.Command, datagrams.Also = proxy.Associate, netip.MustParseAddrPort("[2001:db8::1]:50001")
	primary, err := options.Scheduler.Parse("primary")
	if err != nil {
		t.Fatal(err)
	}
	chosen := example().record
	chosen.Options = &options.Grants{List: []options.Grant{{Option: options.Scheduler, ByClient: true, Asked: primary, Granted: primary, Why: options.AsAsked, From: options.FromSOCKS}}}
	asked, _ := options.Set{}.With(options.Scheduler, primary)
	chosen.HopChoice = &proxy.HopChoice{Asked: asked}
	for _, r := range []proxy.Record{check, refused, datagrams, chosen} {
		k.Keep(&r, "")
	}
	// The session may do with its own what it likes.
	chosen.Options.List[0].From, chosen.HopChoice.Asked = options.FromOperator, options.Set{}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		var l Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %d %d %s %s", l.Protocol, l.Local, l.Up, l.Down, l.Options, l.AskedOfHop))
	}
	want := []string{
		"tcp 203.0.113.1:50000 100 5000000000  ", "udp 203.0.113.1:50000 100 5000000000  ", "udp [2001:db8::1]:50001 0 0  ",
		"tcp 203.0.113.1:50000 100 5000000000 scheduler=primary (as asked, by socks) scheduler=primary",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}
