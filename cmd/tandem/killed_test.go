// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// killings is how often each gateway is killed, and killTime the longest life:
// its start takes a good part of it.
const (
	killings = 5
	killTime = 1600 * time.Millisecond
)

// mortal is a gateway that is killed again and again, with everything that it may
// leave behind: sockets, files, rules, settings, a cgroup.
type mortal struct {
	host   *lab.Host
	config apps.TandemConfig
	client *admin.Client
}

func newMortal(t *testing.T, h *lab.Host, config string) *mortal {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	m := &mortal{host: h, client: admin.NewClient(socket)}
	t.Cleanup(m.client.Close)
	m.config = tandemConfig(t, fmt.Sprintf(`
admin: {socket: %s}
records: {file: {path: %s, max-size: 20kB}}
telemetry: {prometheus: {listen: ["127.0.0.1:9464"]}}
subscribers:
  quota-file: %s
  quota-flush: 1s
  list: [{name: everybody, password: geheim-geheim, sources: [0.0.0.0/0], policy: gold}]
  policies: [{name: gold, quota: {size: 50GB, period: day, reduced-rate: 1Mbit}}]
%s`, socket, filepath.Join(dir, "flows"), filepath.Join(dir, "quotas"), config))
	m.config.Dir = dir
	return m
}

// live runs the gateway for some time, has it do something at some moment, and
// kills it with its successors.
func (m *mortal) live(life time.Duration, do func(*admin.Client)) error {
	file := filepath.Join(m.config.Dir, "tandem-"+m.host.Name()+".yaml")
	if err := os.WriteFile(file, []byte(m.config.Config), 0o600); err != nil {
		return err
	}
	p := m.host.Command(context.Background(), m.config.Command[0], "run", "--config", file)
	said := new(apps.Log)
	p.Env, p.Stderr = append(os.Environ(), m.config.Env...), said
	if err := p.Start(); err != nil {
		return err
	}
	end := time.NewTimer(life)
	defer end.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(m.client)
	}()
	alone := false
	select {
	case <-end.C:
	case <-p.Done():
		alone = p.ExitCode() != 0 // else its successor goes on
	}
	if err := syscall.Kill(-p.Pid(), syscall.SIGKILL); err != nil {
		alone = true
	}
	<-p.Done()
	<-done
	if alone {
		return fmt.Errorf("it has ended by itself, with %d:\n%s", p.ExitCode(), said)
	}
	for syscall.Kill(-p.Pid(), 0) == nil {
		time.Sleep(time.Millisecond) // until the kernel is done with all of them
	}
	return nil
}

// TestKilledAtAnyMoment kills gateways under load, at their start, while they
// serve, are reloaded or upgraded. What they leave behind keeps the next one from
// nothing, and that one leaves nothing.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("TANDEM_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("TANDEM_SEED=%d repeats it", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := &home{HybridHome: labtest.HybridHome(t, lab.HybridHomeSpec{})}
	h.v4 = netip.AddrPortFrom(h.ServerAddr.V4, 7)
	echo(t, h.Server, h.v4.String())
	managed := func(config string) string {
		return strings.Replace(config, "allow-from", "paths: {manager: fullmesh}\n    subscribers: optional\n    allow-from", 1)
	}
	mortals := []*mortal{newMortal(t, h.Aggregator, managed(aggregator)), newMortal(t, h.CPE, managed(cpe))}

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	r := &relayed{TwoPath: &lab.TwoPath{Client: h.Client}}
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if c, err := r.dial(h.v4.String()); err == nil {
					_ = tryExchange(c) // most end with the gateway
					c.Close()
				}
			}
		})
	}
	defer load.Wait()
	defer stop()
	var lives sync.WaitGroup
	for _, m := range mortals {
		type life struct {
			time time.Duration
			do   int
		}
		var plan []life
		for range killings {
			plan = append(plan, life{time.Duration(random.Int64N(int64(killTime))), random.IntN(3)})
		}
		lives.Go(func() {
			for _, l := range plan {
				err := m.live(l.time, func(c *admin.Client) {
					time.Sleep(l.time * 3 / 4) // before its end, not to see something
					switch ctx, cancel := context.WithTimeout(ctx, patience); l.do {
					case 0:
						_, _ = c.Reload(ctx) // it may not be there yet, or be killed
						cancel()
					case 1:
						_, _ = c.Upgrade(ctx)
						cancel()
					default:
						cancel()
					}
				})
				if err != nil {
					t.Errorf("%s: %v", m.host.Name(), err)
					return
				}
			}
		})
	}
	lives.Wait()
	if t.Failed() {
		return
	}

	for _, m := range mortals {
		tandem, err := apps.StartTandem(context.Background(), m.host, m.config)
		if err != nil {
			t.Fatal(err)
		}
		endWithTest(t, m.host, tandem)
		for _, bad := range []string{"level=ERROR", "cannot"} {
			if countLogged(tandem, bad, "msg") > 0 {
				t.Errorf("the next one says %s:\n%s", bad, tandem.Log)
			}
		}
		if _, err := m.client.Status(t.Context()); err != nil {
			t.Error(err)
		}
		defer func() {
			if err := tandem.Stop(); err != nil {
				t.Error(err)
			}
			leavesNothing(t, m.host)
		}()
	}
	labtest.Await(t, 3*patience, "a connection through both", func() bool {
		c, err := r.dial(h.v4.String())
		if err != nil {
			return false
		}
		defer c.Close()
		return tryExchange(c) == nil
	})
	stop()
	load.Wait()
}

// leavesNothing checks what a gateway that has ended has left on a host.
func leavesNothing(t *testing.T, h *lab.Host) {
	t.Helper()
	for _, command := range [][]string{{"nft", "list", "tables"}, {"ip", "rule", "show"}, {"ip", "-6", "rule", "show"}} {
		out, err := h.Command(context.Background(), command[0], command[1:]...).Output()
		if err != nil || strings.Contains(string(out), "tandem") || strings.Contains(string(out), "fwmark") {
			t.Errorf("%s on %s: %s, %v", strings.Join(command, " "), h.Name(), out, err)
		}
	}
	manager, err := h.Command(context.Background(), "cat", "/proc/sys/net/mptcp/path_manager").Output()
	if err != nil || strings.TrimSpace(string(manager)) != "kernel" {
		t.Errorf("the path manager of %s is %s, %v", h.Name(), manager, err)
	}
	var state string
	if err := h.Do(func() error { state = pathStateHere(); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", state, err)
	}
}

// pathStateHere is pathState in the namespace of the thread.
func pathStateHere() string {
	var ns syscall.Stat_t
	if err := syscall.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return ""
	}
	return filepath.Join(stateDirectory, fmt.Sprintf("paths-%d.json", ns.Ino))
}
