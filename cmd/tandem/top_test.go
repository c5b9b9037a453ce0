// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// terminal is a pseudo-terminal with a program in it.
type terminal struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	text   strings.Builder
	ended  chan struct{}
}

// openTerminal returns a terminal, and the end of it that a program gets.
func openTerminal(t *testing.T) (*terminal, *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no pseudo-terminals:", err)
	}
	term := &terminal{t: t, master: os.NewFile(uintptr(fd), "ptmx"), ended: make(chan struct{})}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals:", err)
	}
	go func() {
		defer close(term.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := term.master.Read(buffer)
			term.mu.Lock()
			term.text.Write(buffer[:n])
			term.mu.Unlock()
			if err != nil {
				return // EIO once nobody has the other end
			}
		}
	}()
	t.Cleanup(func() {
		term.master.Close()
		<-term.ended
	})
	return term, slave
}

func (term *terminal) resize(columns, rows uint16) {
	term.t.Helper()
	raw, err := term.master.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
	if err != nil || failure != nil {
		term.t.Fatal(err, failure)
	}
}

// await waits for a text after what was there before, and returns all since then.
func (term *terminal) await(before int, text string) string {
	term.t.Helper()
	var since string
	labtest.Await(term.t, patience, "the terminal to show "+text, func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		since = term.text.String()[before:]
		return strings.Contains(since, text)
	})
	return since
}

func (term *terminal) length() int {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.Len()
}

// TestTop watches a tandem in a terminal that changes its size, and leaves it as
// it was.
func TestTop(t *testing.T) {
	t.Parallel()
	l := startLocal(t, gold)
	ada := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	defer ada.Close()
	term, slave := openTerminal(t)
	term.resize(120, 30)
	cmd := l.command("top", "--interval", "100ms", "--socket", l.socket)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	term.await(0, screenOn)
	term.await(0, "ada")
	term.await(0, "SUBSCRIBER")

	// Bytes show as a rate.
	at := term.length()
	stop := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		buffer := make([]byte, 4096)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond): // a trickle
			}
			if _, err := ada.Write(buffer); err != nil {
				return
			}
			if _, err := ada.Read(buffer); err != nil {
				return
			}
		}
	})
	term.await(at, "Mbit/s")
	close(stop)
	talking.Wait()

	at = term.length()
	term.resize(40, 8)
	term.await(at, "new/s") // it goes on
	labtest.Await(t, patience, "a picture of the new size", func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		pictures := strings.Split(term.text.String()[at:], goHome)
		if len(pictures) < 3 {
			return false
		}
		whole := pictures[len(pictures)-2]
		lines := strings.Split(whole, "\r\n")
		for _, line := range lines {
			for _, code := range []string{bold, reversed, normal, clearLine, clearRest} {
				line = strings.ReplaceAll(line, code, "")
			}
			if utf8.RuneCountInString(line) > 40 {
				return false
			}
		}
		return len(lines) <= 8
	})

	at = term.length()
	if _, err := term.master.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	term.await(at, screenOff)
	if err := cmd.Wait(); err != nil {
		t.Errorf("top ended with %v", err)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || after.Lflag != before.Lflag && after.Lflag&unix.ICANON == 0 {
		t.Errorf("the terminal is left in mode %#x, was %#x; %v", after.Lflag, before.Lflag, err)
	}
	slave.Close()
}

// TestTopOnce prints what there is to see where nobody watches.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, echoServer(t))
	text := l.must("top", "--interval", "100ms")
	for _, words := range []string{"1 active", "PATH ", "USER", "ada@127.0.0.1:", "CONNECTIONS", "OPTIONS"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in\n%s", words, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("control sequences in %q", text)
	}
	l.mustNot([]string{"--interval 1ms: want at least 100ms"}, "top", "--interval", "1ms")
}

// TestTopView draws what a gateway cannot be made to have at will.
func TestTopView(t *testing.T) {
	sample := func(at time.Time, bytes uint64) *topSample {
		s := &topSample{at: at, more: true}
		s.status.PID, s.status.Connections.Accepted = 1, bytes
		token := admin.Token(7)
		for i := range 50 {
			s.connections = append(s.connections, &admin.Connection{
				ID: uint64(i), Phase: "relaying", User: "eve\x1b[2J", Host: "x\u009b31m\r\n.example", Down: bytes * uint64(i),
				Client: admin.Leg{Address: netip.MustParseAddrPort("192.0.2.1:1"), MPTCP: true, Token: token},
			})
		}
		s.paths = []admin.Paths{{Token: token, Subflows: []admin.Subflow{
			{Local: netip.MustParseAddrPort("192.0.2.9:1"), Remote: netip.MustParseAddrPort("192.0.2.1:1"), Network: "dsl", Sent: bytes, RTT: 0.01},
			{Local: netip.MustParseAddrPort("192.0.2.9:1"), Remote: netip.MustParseAddrPort("192.0.2.2:1"), Network: "lte", Sent: 3 * bytes},
		}}}
		return s
	}
	v := &topView{}
	if got := v.frame(80, 24); len(got) != 1 || got[0].text != "connecting …" {
		t.Errorf("before the first look: %v", got)
	}
	began := time.Unix(1_800_000_000, 0)
	v.take(sample(began, 0))
	v.take(sample(began.Add(2*time.Second), 1_000_000))
	for width := 1; width < 200; width += 7 {
		for height := 1; height < 70; height++ {
			lines := v.frame(width, height)
			if len(lines) > height {
				t.Fatalf("%d lines in %d", len(lines), height)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line.text); n > width || strings.ContainsAny(line.text, "\x1b\u009b\r\n") {
					t.Fatalf("%d columns in %d: %q", n, width, line.text)
				}
			}
		}
	}
	var text strings.Builder
	for _, line := range v.frame(160, 0) {
		text.WriteString(line.text + "\n")
	}
	for _, words := range []string{
		"lte          1        -  0 bit/s   12 Mbit/s   75 %", "dsl          1  10.0 ms  0 bit/s  4.0 Mbit/s   25 %",
		"500000.0 new/s", "eve?[2J@192.0.2.1:1", "196 Mbit/s", "2→-", "ID (first 5000)",
	} {
		if !strings.Contains(text.String(), words) {
			t.Errorf("%q is not in\n%s", words, &text)
		}
	}
	for key, want := range map[byte]bool{'q': false, 3: false, 0x1b: false, 's': true, ' ': true, 'x': true} {
		if got := v.press(key); got != want {
			t.Errorf("key %q: goes on: %t", key, got)
		}
	}
}
