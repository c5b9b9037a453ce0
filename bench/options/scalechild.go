// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// scaleChild has a number of connections as its argument. Once it is told to
// begin it writes the changes.
const scaleChild = "options-scale"

// dialing is how many connections are opened at a time.
const dialing = 64

func serveScale(ctx context.Context, args []string) (err error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	programs, err := bpf.Open(bpf.Options{Steering: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, programs.Close()) }()
	if err := programs.Missing(); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	var d time.Duration
	if json.NewDecoder(os.Stdin).Decode(&d) != nil {
		return nil
	}
	c := changes{Connections: n}
	start := time.Now()
	tokens, closeAll, err := openMany(ctx, n)
	defer closeAll()
	if err != nil {
		return err
	}
	c.Opening = time.Since(start)
	if c.All, err = changeAll(programs.Steering(), tokens); err != nil {
		return err
	}
	return out.Encode(c)
}

// single is how many connections are changed one by one.
const single = 100

// changeAll changes options of all connections at once, and of some one after
// the other.
func changeAll(s *bpf.Steering, tokens []uint32) ([]changed, error) {
	var list []changed
	limited := func(rate uint64) *bpf.Policy {
		p := &bpf.Policy{}
		p.Paths[0].RateLimit = rate
		return p
	}
	for _, x := range []struct {
		what   string
		policy *bpf.Policy
	}{
		{"first option", limited(mainCap)},
		{"another rate", limited(2 * mainCap)},
		{"user timeout", &bpf.Policy{Options: bpf.SubflowOptions{options.UserTimeout: 60_000}}},
		{"taken back", nil},
	} {
		policies := make(map[uint32]*bpf.Policy, len(tokens))
		for _, token := range tokens {
			policies[token] = x.policy
		}
		c, err := timed(x.what, len(tokens), func() error {
			for _, err := range s.SetAll(policies) {
				return err
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	some := tokens[:min(single, len(tokens))]
	c, err := timed("one by one", len(some), func() error {
		for _, token := range some {
			if err := s.Set(token, *limited(mainCap)); err != nil {
				return err
			}
		}
		return nil
	})
	return append(list, c), err
}

// timed does something to so many connections and tells what it took.
func timed(what string, n int, f func() error) (changed, error) {
	start, before := time.Now(), cpuTime()
	err := f()
	return changed{What: what, Connections: n, Elapsed: time.Since(start), CPU: cpuTime() - before}, err
}

// openMany opens connections and returns the tokens of the accepting ends.
func openMany(ctx context.Context, n int) (tokens []uint32, closeAll func(), err error) {
	ln, err := mptcp.NewListener(loopback, mptcp.ListenOptions{Mode: mptcp.ModeRequire, Backlog: 4096})
	if err != nil {
		return nil, func() {}, err
	}
	defer ln.Close()
	all, err := connectMany(ctx, n, ln.Addr().String(), ln, func(c *net.TCPConn) error {
		t, err := token(c)
		tokens = append(tokens, t)
		return err
	})
	return tokens, func() { closeConns(all) }, err
}

func closeConns(all []net.Conn) {
	for _, c := range all {
		c.Close()
	}
}

// connectMany opens connections to an address whose other ends come to a
// listener, and returns all ends.
func connectMany(ctx context.Context, n int, to string, ln *net.TCPListener, accepted func(*net.TCPConn) error) (all []net.Conn, err error) {
	opened := make(chan net.Conn, n)
	dials, ctx := errgroup.WithContext(ctx)
	dials.SetLimit(dialing)
	accepting := make(chan error, 1)
	go func() {
		for range n {
			c, err := ln.AcceptTCP()
			if err == nil {
				all = append(all, c)
				err = accepted(c)
			}
			if err != nil {
				accepting <- err
				return
			}
		}
		accepting <- nil
	}()
	dialer := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
	for range n {
		dials.Go(func() error {
			c, err := dialer.DialContext(ctx, "tcp", to)
			if err == nil {
				opened <- c
			}
			return err
		})
	}
	err = dials.Wait()
	if err != nil {
		ln.Close() // ends accepting
	}
	err = errors.Join(err, <-accepting)
	close(opened)
	for c := range opened {
		all = append(all, c)
	}
	return all, err
}

// Where the ends of connections through a gateway are.
var (
	scaleGateway = netip.MustParseAddrPort("10.0.0.2:8080")
	scaleServer  = netip.MustParseAddrPort("10.0.0.1:8081")
)

// scaleEndsChild has a number of connections as its argument. Once it is told to
// begin it opens them through a gateway, writes how long that took, and keeps
// them until its input ends.
const scaleEndsChild = "options-scale-ends"

func serveScaleEnds(ctx context.Context, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ln, err := mptcp.NewListener(scaleServer, mptcp.ListenOptions{Mode: mptcp.ModeOff, Backlog: 4096})
	if err != nil {
		return err
	}
	defer ln.Close()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	var d time.Duration
	if in.Decode(&d) != nil {
		return nil
	}
	start := time.Now()
	all, err := connectMany(ctx, n, scaleGateway.String(), ln, func(*net.TCPConn) error { return nil })
	defer closeConns(all)
	if err != nil {
		return err
	}
	if err := out.Encode(time.Since(start)); err != nil {
		return err
	}
	_ = in.Decode(&d) // waits for the end
	return nil
}
