// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestRefusedJoins: the peer opens subflows that the policy does not take.
func TestRefusedJoins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mesh   Manager
		server func(*world) Policy
		cause  Cause
		stay   int
	}{
		{"prefix", FullMesh{}, func(w *world) Policy {
			return Policy{RefuseJoins: []netip.Prefix{netip.PrefixFrom(w.Cell.Addr.V4, 25)}}
		}, Forbidden, 1},
		{"number", NDiffPorts{N: 6}, func(*world) Policy { return Policy{MaxSubflows: 3} }, TooMany, 3},
		{"rate", NDiffPorts{N: 6}, func(*world) Policy { return Policy{OpensPerSecond: 2} }, TooMany, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: tt.mesh}, tt.server(w))
			labtest.Await(t, patience, "closed subflows", func() bool { return w.server.Counters().Closed[tt.cause] > 0 })
			w.client.Adopt(f.clientToken, &Policy{}, true) // no more of that
			f.move(f.client, f.server, 1000)
			labtest.Await(t, patience, "few subflows", func() bool {
				return len(established(t, w.server, f.serverToken)) <= tt.stay
			})
		})
	}
}

// TestOwnLimits: the policy of this end limits what its manager wants.
func TestOwnLimits(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{OpensPerSecond: 20})
	from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
	ln := w.listen(to)
	few := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 100}, MaxSubflows: 3}, Policy{})
	few.awaitSubflows(pair(from, to), pair(from, to), pair(from, to))
	slow := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 5}, OpensPerSecond: 2}, Policy{})
	slow.awaitSubflows(pair(from, to), pair(from, to), pair(from, to), pair(from, to), pair(from, to))
	c := w.client.Counters()
	if c.OverLimit == 0 || c.Delayed == 0 || c.Opened[ByPolicy] != 6 {
		t.Errorf("%+v", c)
	}
}

// TestFlappingDoesNotStarve: the subflows of one connection are reset as fast
// as they come, while another one waits for its turn.
func TestFlappingDoesNotStarve(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{OpensPerSecond: 5})
	to := w.AggregatorAddr.V4
	bad, good := w.listen(to), w.listen(to)
	nft(t, w.Aggregator, "iifname cell tcp dport "+port(bad)+" reject with tcp reset")
	w.connect(bad, to, Policy{Manager: FullMesh{}, OpensPerSecond: 1000}, Policy{})
	labtest.Await(t, patience, "failures", func() bool { return w.client.Counters().Failed[ResetReceived] > 2 })
	f := w.connect(good, to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
}

// TestNoAnswer: a path that swallows everything, SYNs or data, is given up and
// tried again.
func TestNoAnswer(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}, Cell: lab.LinkSpec{Rate: 20e6}}, Options{StallAfter: 600 * time.Millisecond})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	wait := f.start(f.client, f.server, 4<<20)
	nft(t, w.Aggregator, "iifname cell drop")
	labtest.Await(t, patience, "a stalled subflow closed", func() bool { return w.client.Counters().Closed[TimedOut] > 0 })
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	noRules(t, w.Aggregator)
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	if c := w.client.Counters(); c.Healed[TimedOut] == 0 {
		t.Errorf("healed %v", c.Healed)
	}
}

// TestSYNsWithoutAnswer: an attempt is given up long before TCP would.
func TestSYNsWithoutAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as three SYNs")
	}
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	nft(t, w.Aggregator, "iifname cell drop")
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	labtest.Await(t, openWithin+patience, "an attempt given up", func() bool { return w.client.Counters().Failed[NotAnswered] > 0 })
	noRules(t, w.Aggregator)
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	labtest.Await(t, patience, "no other socket", func() bool { return len(state(t, w.client, f.clientToken).Subflows) == 2 })
}

// TestRefusals: what the kernel refuses is counted, and harms nothing.
func TestRefusals(t *testing.T) {
	t.Run("connection of the in-kernel path manager", func(t *testing.T) {
		w := &world{TwoPath: labtest.TwoPath(t, lab.TwoPathSpec{}), t: t}
		to := w.AggregatorAddr.V4
		f := w.dial(w.listen(to), to)
		w.client = w.engineOn(w.Client, Options{})
		f.move(f.client, f.server, 1)
		f.move(f.server, f.client, 1)
		w.client.Adopt(f.clientToken, &Policy{Manager: NDiffPorts{N: 2}}, true)
		labtest.Await(t, patience, "a refusal", func() bool { return w.client.Counters().Refused[unix.EINVAL] > 0 })
		f.move(f.client, f.server, 1)
	})
	t.Run("subflow that has ended", func(t *testing.T) {
		w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
		from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
		f := w.connect(w.listen(to), to, Policy{Manager: NDiffPorts{N: 2}}, Policy{})
		f.awaitSubflows(pair(from, to), pair(from, to))
		second := state(t, w.client, f.clientToken).Subflows[1]
		w.client.ask(func() {
			run(t, w.Client, "ss", "-K", "src", second.LocalAddr().String())
			c := w.client.conns[f.clientToken]
			w.client.setBackup(c, SetBackup{Subflow: c.Subflows[1], Backup: true})
			w.client.close(c, c.Subflows[1], Replaced, time.Now())
		})
		if c := w.client.Counters(); c.Refused[unix.EINVAL] != 1 {
			t.Errorf("%v", c.Refused)
		}
		f.move(f.client, f.server, 1)
		labtest.Await(t, patience, "its end", func() bool { return w.client.Counters().Closed[Replaced] == 1 })
	})
	t.Run("families", func(t *testing.T) {
		w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
		to := w.AggregatorAddr
		mesh := FullMesh{Announce: []netip.AddrPort{netip.AddrPortFrom(to.V6, 0)}}
		f := w.connect(w.listen(netip.IPv6Unspecified()), to.V4, Policy{Manager: FullMesh{}}, Policy{Manager: mesh})
		labtest.Await(t, patience, "a refusal", func() bool { return w.client.Counters().Refused[unix.EINVAL] > 0 })
		f.awaitSubflows(pair(w.WiFi.Addr.V4, to.V4), pair(w.Cell.Addr.V4, to.V4))
		if c := w.client.Counters(); c.Failed[Refused] != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// TestKernelOnKernel does what the endpoints of the lab say.
func TestKernelOnKernel(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: Kernel{}}, Policy{Manager: Kernel{}})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
}

func TestBackupInterfaces(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 40e6}, Cell: lab.LinkSpec{Rate: 40e6}}, Options{})
	to := w.AggregatorAddr.V4
	for _, tt := range []struct{ backup, idle lab.Access }{{w.Cell, w.Cell}, {w.WiFi, w.WiFi}} {
		f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}, BackupInterfaces: []string{tt.backup.Dev}}, Policy{})
		f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
		labtest.Await(t, patience, "one backup", func() bool {
			return slices.ContainsFunc(state(t, w.client, f.clientToken).Subflows, func(s SubflowState) bool {
				return s.Backup && s.Interface == tt.backup.Dev
			})
		})
		before := carried(t, tt.idle)
		const size = 2 << 20
		f.move(f.client, f.server, size)
		if n := carried(t, tt.idle) - before; n > size/10 {
			t.Errorf("the backup carried %d bytes", n)
		}
	}
}

// TestObserve leaves everything to the in-kernel path manager, and still knows.
func TestObserve(t *testing.T) {
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{Observe: true})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: NDiffPorts{N: 4}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	if c := w.client.Counters(); len(c.Refused) != 0 || c.OverLimit != 0 {
		t.Errorf("%+v", c)
	}
	if err := w.Client.Do(func() error {
		name, err := mptcp.PathManager()
		if name != mptcp.PathManagerKernel {
			t.Errorf("path manager %s", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	notices := make(chan Notice, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := range w.client.Watch(ctx) {
			notices <- n
		}
	}()
	labtest.Await(t, patience, "a watcher", func() bool {
		some := false
		w.client.ask(func() { some = len(w.client.watchers) > 0 })
		return some
	})
	f := w.connect(w.listen(to), to, Policy{Manager: NDiffPorts{N: 2}}, Policy{})
	var got []Cause
	for len(got) < 2 {
		select {
		case n := <-notices:
			if n.Kind == NoticeOpened && n.Token == f.clientToken {
				got = append(got, n.Subflow.Opened)
			}
		case <-ctx.Done():
			t.Fatalf("saw %v", got)
		}
	}
	if !slices.Equal(got, []Cause{FirstSubflow, ByPolicy}) {
		t.Errorf("%v", got)
	}
	cancel()
	<-ended
}

// TestSettingsAreRestored, and the engine that ends lets connections go on.
func TestSettingsAreRestored(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	if err := w.client.Close(); err != nil {
		t.Fatal(err)
	}
	f.move(f.client, f.server, 100_000)
	if err := w.Client.Do(func() error {
		name, err := mptcp.PathManager()
		if name != mptcp.PathManagerKernel {
			t.Errorf("path manager %s", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.client.Adopt(f.clientToken, &Policy{}, true)
	w.client.Forget(f.clientToken)
	if all, err := w.client.Snapshot(); len(all) != 0 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
}

// TestUnprivileged: the error says what is missing.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give it up")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=unprivileged")
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "unavailable: true\n") || !strings.Contains(string(out), "needs CAP_NET_ADMIN") {
		t.Errorf("%s, %v", out, err)
	}
}
