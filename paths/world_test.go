// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
)

// patience bounds every wait for the kernel.
const patience = 30 * time.Second

// sources are where events come from.
var sources = []string{"eBPF", "netlink"}

// world is a client and an aggregator with an engine each, and two paths
// between them. Only one can have the events of eBPF: the programs are those of
// the process, which is both.
type world struct {
	*lab.TwoPath
	t              *testing.T
	client, server *Engine
	expired        chan Cause // of the server
}

func needEngine(t testing.TB) {
	t.Helper()
	if _, err := mptcp.SysctlPathManager.Read(); errors.Is(err, os.ErrNotExist) {
		t.Skip("needs Linux 6.15 to choose the path manager by name")
	}
}

func newWorld(t *testing.T, source string, spec lab.TwoPathSpec, o Options) *world {
	t.Helper()
	w := &world{TwoPath: labtest.TwoPath(t, spec), t: t, expired: make(chan Cause, 10)}
	if source == "eBPF" {
		o.Events = events(t, bpf.Options{})
	}
	w.client = w.engineOn(w.Client, o)
	w.server = w.engineOn(w.Aggregator, Options{Expired: func(_ uint32, last Cause) { w.expired <- last }})
	return w
}

// events runs the eBPF programs until the end of the test.
func events(t *testing.T, o bpf.Options) *bpf.Events {
	t.Helper()
	o.Events = true
	p, err := bpf.Open(o)
	if errors.Is(err, bpf.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if p.Events() == nil {
		t.Skip(p.Missing())
	}
	return p.Events()
}

func (w *world) engineOn(h *lab.Host, o Options) *Engine {
	w.t.Helper()
	needEngine(w.t)
	ns := netns.None()
	if err := h.Do(func() (err error) { ns, err = netns.Get(); return err }); err != nil {
		w.t.Fatal(err)
	}
	o.NetNS = int(ns)
	e, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			states, err := e.Snapshot()
			w.t.Logf("%s: %+v, %v", h.Name(), e.Counters(), err)
			for _, c := range states {
				w.t.Logf("%08x of %q, initiator %t, lost %v by %s, remotes %v, paths %v", c.Token, c.Policy, c.Initiator, c.Lost, c.LostBy, c.Remotes, c.Paths)
				for _, s := range slices.Concat(c.Subflows, c.Past) {
					w.t.Logf("  %s port %d on %q: %s since %v, opened: %s, closed: %s", s.Path, s.Port, s.Interface, s.State, s.Since, s.Opened, s.Subflow.Closed)
				}
			}
		}
		if err := e.Close(); err != nil {
			w.t.Error(err)
		}
		ns.Close()
	})
	return e
}

// flow is a connection from the client to the aggregator, with the engines'
// tokens.
type flow struct {
	w                        *world
	client, server           *net.TCPConn
	clientToken, serverToken uint32
}

func (w *world) listen(addr netip.Addr) *net.TCPListener {
	w.t.Helper()
	var ln *net.TCPListener
	err := w.Aggregator.Do(func() (err error) {
		ln, err = mptcp.NewListener(netip.AddrPortFrom(addr, 0), mptcp.ListenOptions{
			Mode: mptcp.ModeRequire, Socket: mptcp.SocketOptions{V6Only: mptcp.V6OnlyNo},
		})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ln.Close() })
	return ln
}

// dial makes a connection and does not adopt it.
func (w *world) dial(ln *net.TCPListener, to netip.Addr) *flow {
	w.t.Helper()
	f := &flow{w: w}
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	err := w.Client.Do(func() error {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		c, err := d.DialContext(w.t.Context(), "tcp", netip.AddrPortFrom(to, port).String())
		if err == nil {
			f.client = c.TCPConn
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.client.Close() })
	if f.server, err = ln.AcceptTCP(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.server.Close() })
	f.clientToken, f.serverToken = tokenOf(w.t, f.client), tokenOf(w.t, f.server)
	return f
}

// connect makes a connection that both engines adopt, over which data has gone
// both ways.
func (w *world) connect(ln *net.TCPListener, to netip.Addr, client, server Policy) *flow {
	w.t.Helper()
	f := w.dial(ln, to)
	w.client.Adopt(f.clientToken, &client, true)
	w.server.Adopt(f.serverToken, &server, false)
	f.move(f.client, f.server, 1)
	f.move(f.server, f.client, 1)
	return f
}

func tokenOf(t testing.TB, c *net.TCPConn) uint32 {
	t.Helper()
	s, err := mptcp.StatusOf(c)
	if err != nil || !s.MPTCP {
		t.Fatalf("%+v, %v", s, err)
	}
	return s.Token
}

// move sends n bytes and returns when they have arrived as they were.
func (f *flow) move(from, to *net.TCPConn, n int64) {
	f.w.t.Helper()
	wait := f.start(from, to, n)
	if err := wait(); err != nil {
		f.w.t.Fatal(err)
	}
}

// start sends n random bytes. wait returns when they have arrived, with an
// error if they are others.
func (f *flow) start(from, to *net.TCPConn, n int64) (wait func() error) {
	deadline := time.Now().Add(3 * patience)
	from.SetWriteDeadline(deadline)
	to.SetReadDeadline(deadline)
	var both sync.WaitGroup
	var sent, received hash.Hash = sha256.New(), sha256.New()
	var sending, receiving error
	both.Go(func() {
		random := rand.NewChaCha8([32]byte{byte(n)})
		_, sending = io.CopyN(io.MultiWriter(from, sent), random, n)
	})
	both.Go(func() { _, receiving = io.CopyN(received, to, n) })
	return func() error {
		both.Wait()
		if err := errors.Join(sending, receiving); err != nil {
			return err
		}
		if string(sent.Sum(nil)) != string(received.Sum(nil)) {
			return errors.New("other bytes have arrived than were sent")
		}
		return nil
	}
}

func state(t testing.TB, e *Engine, token uint32) ConnectionState {
	t.Helper()
	all, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c ConnectionState) bool { return c.Token == token })
	if i < 0 {
		return ConnectionState{}
	}
	return all[i]
}

// established are the paths of the established subflows, in order.
func established(t testing.TB, e *Engine, token uint32) []string {
	t.Helper()
	var list []string
	for _, s := range state(t, e, token).Subflows {
		if s.State == Established {
			list = append(list, s.Local.String()+" > "+s.Remote.Addr().String())
		}
	}
	slices.Sort(list)
	return list
}

// awaitSubflows waits until the client's subflows are those.
func (f *flow) awaitSubflows(want ...string) {
	f.w.t.Helper()
	slices.Sort(want)
	var got []string
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if got = established(f.w.t, f.w.client, f.clientToken); slices.Equal(got, want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	f.w.t.Fatalf("subflows (-want +got):\n%s", cmp.Diff(want, got))
}

func pair(local, remote netip.Addr) string { return local.String() + " > " + remote.String() }

// run runs a command on a host.
func run(t testing.TB, h *lab.Host, name string, args ...string) {
	t.Helper()
	if out, err := h.Command(t.Context(), name, args...).Output(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs ", name)
	} else if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// nft adds a rule for packets that come to a host.
func nft(t testing.TB, h *lab.Host, rule string) {
	t.Helper()
	run(t, h, "nft", fmt.Sprintf("add table inet t; add chain inet t input { type filter hook input priority 0; }; add rule inet t input %s", rule))
}

func noRules(t testing.TB, h *lab.Host) {
	t.Helper()
	run(t, h, "nft", "flush ruleset")
}

func port(ln *net.TCPListener) string {
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}
