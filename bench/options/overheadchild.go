// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// overheadChild has the load as its argument. For each [transferFor] that it
// reads it writes a transfer.
const overheadChild = "options-overhead"

// bench is what the child needs.
type bench struct {
	load     load
	programs *bpf.Programs
	steering *bpf.Steering
	spare    []*ends
}

func serveOverhead(ctx context.Context, args []string) (err error) {
	b := &bench{load: load(args[0])}
	if err := useOneProcessor(); err != nil {
		return err
	}
	if b.load != noPrograms {
		o := bpf.Options{Steering: true, Requests: slices.Contains([]load{listening, asking, parsing}, b.load)}
		programs, err := bpf.Open(o)
		if err != nil {
			return err
		}
		var reading sync.WaitGroup
		defer func() {
			err = errors.Join(err, programs.Close())
			reading.Wait()
		}()
		if err := programs.Missing(); err != nil {
			return err
		}
		b.programs, b.steering = programs, programs.Steering()
		reading.Go(b.read)
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	for ctx.Err() == nil {
		var wanted transferFor
		if in.Decode(&wanted) != nil {
			return nil
		}
		t, err := b.transfer(ctx, wanted)
		if err != nil {
			return err
		}
		if err := out.Encode(t); err != nil {
			return err
		}
	}
	return nil
}

// read takes what is asked, and answers it only where that is usual.
func (b *bench) read() {
	var a bpf.Asked
	for b.steering.Read(&a) == nil {
		if b.load == asking && !a.Answer {
			_ = b.steering.Answer(bpf.Reply{Token: a.Token, Subflow: a.Subflow, Record: a.Record}) // the connection may have ended
		}
	}
}

// spareConnections are opened at once for the arm without programs.
const spareConnections = 32

// connection opens a connection. Programs keep the queue of each subflow short
// from its beginning, which by itself makes a transfer over loopback faster: for
// the arm without programs they are there until then.
func (b *bench) connection(ctx context.Context) (c *ends, err error) {
	if b.load != noPrograms {
		return connectEnds(ctx)
	}
	if len(b.spare) == 0 {
		programs, err := bpf.Open(bpf.Options{Steering: true})
		if err != nil {
			return nil, err
		}
		err = programs.Missing()
		for err == nil && len(b.spare) < spareConnections {
			if c, err = connectEnds(ctx); err == nil {
				b.spare = append(b.spare, c)
			}
		}
		if err = errors.Join(err, programs.Close()); err != nil {
			return nil, err
		}
	}
	c, b.spare = b.spare[0], b.spare[1:]
	return c, nil
}

// ends are both of a connection.
type ends struct{ client, server *net.TCPConn }

// connectEnds makes a listener for each connection, because it belongs to the
// cgroup that it was made in, and so does what it accepts.
func connectEnds(ctx context.Context) (*ends, error) {
	ln, err := mptcp.NewListener(loopback, mptcp.ListenOptions{Mode: mptcp.ModeRequire})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	dialer := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
	c, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := ln.AcceptTCP()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &ends{c.TCPConn, server}, nil
}

// warmUp is how long a transfer is under way before it counts.
const warmUp = 100 * time.Millisecond

func (b *bench) transfer(ctx context.Context, wanted transferFor) (t transfer, err error) {
	c, err := b.connection(ctx)
	if err != nil {
		return t, err
	}
	client, server := c.client, c.server
	defer client.Close()
	var running sync.WaitGroup
	ending := make(chan struct{})
	defer running.Wait()
	defer server.Close()
	defer close(ending)
	asking, err := b.prepare(client, server)
	if err != nil {
		return t, err
	}
	running.Go(func() { asking(ending) })
	running.Go(func() {
		block := make([]byte, 1<<20)
		for {
			if _, err := server.Write(block); err != nil {
				return
			}
		}
	})
	block := make([]byte, 1<<20)
	until := func(end time.Time) (n int64, err error) {
		for time.Now().Before(end) {
			got, err := client.Read(block)
			n += int64(got)
			if err != nil {
				return n, err
			}
		}
		return n, nil
	}
	if _, err := until(time.Now().Add(warmUp)); err != nil {
		return t, err
	}
	count := func() ([]usage, error) { return nil, nil }
	if wanted.Count {
		if count, err = b.counting(); err != nil {
			return t, err
		}
	}
	start, before := time.Now(), cpuTime()
	t.Bytes, err = until(start.Add(wanted.Time))
	t.Elapsed, t.CPU = time.Since(start), cpuTime()-before
	var uncounted error
	t.Programs, uncounted = count()
	if err = errors.Join(err, uncounted); err != nil {
		return t, err
	}
	list, err := subflows(server)
	if err == nil && len(list) > 0 {
		t.RTT = list[0].TCP.RTT
	}
	return t, err
}

// counting has the kernel count what the programs do until the end is called.
func (b *bench) counting() (end func() ([]usage, error), err error) {
	statistics, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, err
	}
	before, err := b.programs.Usage()
	if err != nil {
		return nil, errors.Join(err, statistics.Close())
	}
	return func() ([]usage, error) {
		after, err := b.programs.Usage()
		if err = errors.Join(err, statistics.Close()); err != nil {
			return nil, err
		}
		var list []usage
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if n := after[name].Runs - before[name].Runs; n > 0 {
				list = append(list, usage{Name: name, Runs: n, Time: after[name].Time - before[name].Time})
			}
		}
		return list, nil
	}, nil
}

// prepare does with a connection what the load says, and returns what is to be
// done beside the transfer.
func (b *bench) prepare(client, server *net.TCPConn) (beside func(<-chan struct{}), err error) {
	beside = func(<-chan struct{}) {}
	if slices.Contains([]load{noPrograms, attached, listening}, b.load) {
		return beside, nil
	}
	ours, err := token(client)
	if err != nil {
		return nil, err
	}
	theirs, err := token(server)
	if err != nil {
		return nil, err
	}
	for _, t := range []uint32{ours, theirs} {
		if err := b.steering.Set(t, bpf.Policy{}); err != nil {
			return nil, fmt.Errorf("steer: %w", err)
		}
	}
	every := map[load]time.Duration{writing: 200 * time.Millisecond, parsing: 200 * time.Millisecond, asking: time.Second}[b.load]
	if every == 0 {
		return beside, nil
	}
	// A request is given up after 10 writes with 20 ms between them.
	r := bpf.Record{Type: uint8(options.UserTimeout)}
	return func(end <-chan struct{}) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			_ = b.steering.Ask(ours, 0, r) // fails once the connection has ended
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}, nil
}

// useOneProcessor keeps all threads of this process, and those that they will
// start, on the last of the processors that it may use.
func useOneProcessor() error {
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	for cpu := range len(may) * 64 {
		if may.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err == nil {
			err = unix.SchedSetaffinity(id, &one)
		}
		if err != nil {
			return fmt.Errorf("keep thread %s on a processor: %w", t.Name(), err)
		}
	}
	return nil
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
