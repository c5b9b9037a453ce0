// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// overheadChild has the load as its argument. For each duration that it reads it
// writes a transfer.
const overheadChild = "options-overhead"

// bench is what the child needs.
type bench struct {
	load     load
	steering *bpf.Steering
	ln       *net.TCPListener
}

func serveOverhead(ctx context.Context, args []string) (err error) {
	b := &bench{load: load(args[0])}
	if b.load != noPrograms {
		o := bpf.Options{Steering: true, Requests: b.load == parsing || b.load == asking}
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
		b.steering = programs.Steering()
		reading.Go(b.read)
	}
	if b.ln, err = mptcp.NewListener(loopback, mptcp.ListenOptions{Mode: mptcp.ModeRequire}); err != nil {
		return err
	}
	defer b.ln.Close()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	for ctx.Err() == nil {
		var d time.Duration
		if in.Decode(&d) != nil {
			return nil
		}
		t, err := b.transfer(ctx, d)
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
			_ = b.steering.Answer(a.Token, a.Subflow, a.Record) // the connection may have ended
		}
	}
}

// warmUp is how long a transfer is under way before it counts.
const warmUp = 100 * time.Millisecond

func (b *bench) transfer(ctx context.Context, d time.Duration) (t transfer, err error) {
	dialer := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
	client, err := dialer.DialContext(ctx, "tcp", b.ln.Addr().String())
	if err != nil {
		return t, err
	}
	defer client.Close()
	server, err := b.ln.AcceptTCP()
	if err != nil {
		return t, err
	}
	var running sync.WaitGroup
	ending := make(chan struct{})
	defer running.Wait()
	defer server.Close()
	defer close(ending)
	asking, err := b.prepare(client.TCPConn, server)
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
	start, before := time.Now(), cpuTime()
	t.Bytes, err = until(start.Add(d))
	t.Elapsed, t.CPU = time.Since(start), cpuTime()-before
	if err != nil {
		return t, err
	}
	list, err := subflows(server)
	if err == nil && len(list) > 0 {
		t.RTT = list[0].TCP.RTT
	}
	return t, err
}

// prepare does with a connection what the load says, and returns what is to be
// done beside the transfer.
func (b *bench) prepare(client, server *net.TCPConn) (beside func(<-chan struct{}), err error) {
	beside = func(<-chan struct{}) {}
	if b.load == noPrograms || b.load == attached {
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

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
