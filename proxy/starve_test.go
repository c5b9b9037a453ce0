// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// starvedChild names the environment variable with the address that the child
// of TestOutOfDescriptors forwards to.
const starvedChild = "TANDEM_TEST_STARVED"

const starvedMessage = "cannot accept for now; connections wait and existing ones live on: raise the limit of open files (LimitNOFILE, ulimit -n)"

// runStarvedChild is a proxy with few descriptors. It prints its address, then
// for each line read how often it has warned.
func runStarvedChild() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The runtime polls from the first timer on, and cannot begin to without a
	// descriptor: have it do so now.
	time.Sleep(time.Nanosecond)
	const few = 40
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: few}); err != nil {
		return fail(err)
	}
	log := &logged{}
	s, err := NewServer(Options{Workers: 2, Log: slog.New(log)})
	if err != nil {
		return fail(err)
	}
	defer s.Close()
	l := forwardTo("", netip.MustParseAddrPort(os.Getenv(starvedChild)))
	complete(l)
	bound, err := s.Apply([]*Listener{l})
	if err != nil {
		return fail(err)
	}
	fmt.Println(bound[0].Address)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(log.count(slog.LevelWarn, starvedMessage))
	}
	return 0
}

func TestOutOfDescriptors(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), starvedChild+"="+echoServer(t).String())
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	defer func() {
		in.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	}()
	var text string
	if _, err := fmt.Fscanln(answers, &text); err != nil {
		t.Fatal(err)
	}
	proxy := netip.MustParseAddrPort(text)
	warnings := func() (n int) {
		fmt.Fprintln(in)
		if _, err := fmt.Fscanln(answers, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	// Each client says a word and waits for the echo.
	const many = 60
	served := make(chan *mptcp.Conn, many)
	failed := make(chan error, many)
	for range many {
		c := dialProxy(t, proxy, mptcp.ModePrefer)
		send(t, c, []byte("x"))
		go func() {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				failed <- err
				return
			}
			served <- c
		}()
	}
	await(t, "the warning", func() bool { return warnings() > 0 })
	// Those that were served first live on; as they leave, others take their
	// places, until everybody has had a turn.
	for range many {
		select {
		case err := <-failed:
			t.Fatal(err)
		case c := <-served:
			exchange(t, c, "lives on")
		}
	}
	if n := warnings(); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}
