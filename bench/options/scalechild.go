// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
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
		{"user timeout", &bpf.Policy{UserTimeout: time.Minute}},
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
	var all []net.Conn
	closeAll = func() {
		for _, c := range all {
			c.Close()
		}
	}
	ln, err := mptcp.NewListener(loopback, mptcp.ListenOptions{Mode: mptcp.ModeRequire, Backlog: 4096})
	if err != nil {
		return nil, closeAll, err
	}
	defer ln.Close()
	opened := make(chan net.Conn, n)
	dials, ctx := errgroup.WithContext(ctx)
	dials.SetLimit(dialing)
	accepting := make(chan error, 1)
	go func() {
		for range n {
			c, err := ln.AcceptTCP()
			if err != nil {
				accepting <- err
				return
			}
			all = append(all, c)
			t, err := token(c)
			if err != nil {
				accepting <- err
				return
			}
			tokens = append(tokens, t)
		}
		accepting <- nil
	}()
	dialer := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
	for range n {
		dials.Go(func() error {
			c, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
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
	return tokens, closeAll, err
}
