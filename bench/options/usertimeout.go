// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

const section551 = "thesis, §5.5.1"

var userTimeout = experiment.Experiment{
	ID:       "options-user-timeout",
	Title:    "A path that goes silent, with a user timeout",
	Question: "Do both ends give a path up that carries nothing any more, when the client has asked for that after some time, and does the transfer go on?",
	Setup: "Two paths of 20 Mbit/s and 20 ms each way, congestion control cubic; bulk in both directions at once. The client asks for a user timeout in a TCP option, the server grants it and announces it with the option of RFC 5482, and the client follows. " +
		"Then the first path loses everything. Each end is asked every 10 ms which subflows it has.",
	Published: []experiment.Published{{Source: section551, Value: "the user timeout option works"}},
	Metrics: []experiment.Metric{
		{Name: "server gives up after", Unit: "s"},
		{Name: "client gives up after", Unit: "s"},
		{Name: "longest pause of the download", Unit: "ms", Better: experiment.Lower},
	},
	Takes: 100 * time.Second, Quick: 4 * time.Second,
	Run: measureUserTimeout,
}

const (
	// lateBy is how much later than asked for a path may be given up: the kernel
	// looks when it is to send again.
	lateBy = time.Second
	// underWay is for how long the oldest data may have been under way when the
	// path falls silent: a round trip and the queue.
	underWay = 150 * time.Millisecond
)

func measureUserTimeout(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	timeouts, usual := []time.Duration{2 * time.Second, 5 * time.Second}, 15*time.Second
	if e.Quick {
		timeouts, usual = []time.Duration{time.Second}, 0
	}
	spec := twoPaths(pathDelay, 0)
	s, err := newStage(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var arms []experiment.Arm
	for _, d := range timeouts {
		arms = append(arms, experiment.Arm{Name: d.String(), Measure: func(ctx context.Context, _ int) (experiment.Measured, error) {
			x, err := s.fallSilent(ctx, d, d+10*lateBy)
			return x.measured(), err
		}})
	}
	if err := r.Turns(ctx, e.Rounds(5, 1), arms...); err != nil {
		return err
	}
	r.Summary()
	var bars []figure.Bar
	right, worst := true, time.Duration(0)
	for _, d := range timeouts {
		for _, end := range []string{"server", "client"} {
			values := r.Values(d.String(), end+" gives up after")
			for _, v := range values {
				// A path that is never given up is far too early.
				late := time.Duration(v*float64(time.Second)) - d
				right, worst = right && late > -underWay && late <= lateBy, max(worst, late)
			}
			bars = append(bars, figure.Bar{Name: d.String() + ", " + end, Value: figure.Median(values), Range: figure.MedianInterval(values, experiment.Level)})
		}
	}
	r.Ours(section551, "both ends give the path up, at most %.2f s after the timeout", worst.Seconds())
	r.Judge(right, "each end gives the path up when the timeout is over, or at most a second later", "at most %.2f s after it", worst.Seconds())
	if usual > 0 {
		x, err := s.fallSilent(ctx, 0, usual)
		if err != nil {
			return fmt.Errorf("without a timeout: %w", err)
		}
		r.Note("without a timeout, within %v: the server gives the path up %s, the client %s", usual, told(x.server), told(x.client))
	}
	r.Plot("", figure.Bars(figure.Axes{Title: "From silence to the end of the subflow, by the timeout that was asked for", Y: "s"}, bars...))
	return nil
}

func told(after time.Duration) string {
	if after == 0 {
		return "not at all"
	}
	return fmt.Sprintf("after %.2f s", after.Seconds())
}

// silence is what came of a path that fell silent.
type silence struct {
	server, client time.Duration // until the end has no subflow there; never: 0
	pause          time.Duration
}

func (x silence) measured() experiment.Measured {
	return experiment.Measured{
		"server gives up after": x.server.Seconds(), "client gives up after": x.client.Seconds(),
		"longest pause of the download": figure.Milliseconds(x.pause),
	}
}

// fallSilent has a connection on both paths lose the first one, and waits until
// both ends have given it up, or a while. Without a timeout nobody asks for one.
func (s *stage) fallSilent(ctx context.Context, timeout, wait time.Duration) (x silence, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return x, err
	}
	d := startDownload(c)
	up := c.startUpload()
	m := d.watch()
	// Clients open subflows once data has been acknowledged.
	err = c.twoSubflows(ctx)
	if err == nil && timeout > 0 {
		err = s.agree(ctx, c, timeout)
	}
	if err == nil {
		err = m.awaitBytes(ctx, 0)
	}
	if err == nil {
		err = await.Pause(ctx, 4*pathDelay)
	}
	silent := m.now()
	if err == nil {
		err = s.WiFi.SetLoss(emulator.RandomLoss(1))
	}
	if err == nil {
		x.server, x.client, err = s.givenUp(ctx, c, wait)
	}
	end := m.now()
	t, meterErr := m.stop()
	// What is under way has to come through before the next round.
	err = errors.Join(err, meterErr, s.WiFi.SetLoss(emulator.Loss{}), up.end(), d.end(), s.served())
	if err != nil {
		return x, err
	}
	x.pause = t.longestPause(silent, end)
	return x, nil
}

// agree has the client ask for a timeout, and waits until it does as the server
// has announced then.
func (s *stage) agree(ctx context.Context, c *connection, timeout time.Duration) error {
	if err := s.ask(c, options.UserTimeout, timeout.String()); err != nil {
		return err
	}
	if _, err := s.answerTo(ctx, c, options.UserTimeout); err != nil {
		return err
	}
	return await.Until(ctx, patience, time.Millisecond, "announcement of the user timeout", func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.granted[request{c.clientToken, options.UserTimeout}].IsZero(), s.err
	})
}

// givenUp waits until neither end has a subflow on the first path, and tells
// after what time each of them had none any more.
func (s *stage) givenUp(ctx context.Context, c *connection, wait time.Duration) (server, client time.Duration, err error) {
	start := time.Now()
	gone := func(list []mptcp.Subflow) bool {
		return !slices.ContainsFunc(list, func(f mptcp.Subflow) bool {
			// The first subflow stays in the kernel's list when it has ended.
			on := f.Local.Addr().Unmap() == s.WiFi.Addr.V4 || f.Remote.Addr().Unmap() == s.WiFi.Addr.V4
			return on && f.TCP.State == mptcp.StateEstablished
		})
	}
	for time.Since(start) < wait && (server == 0 || client == 0) {
		atServer, err := subflows(c.server)
		if err != nil {
			return server, client, err
		}
		atClient, err := subflows(c.client)
		if err != nil {
			return server, client, err
		}
		now := time.Since(start)
		if server == 0 && gone(atServer) {
			server = now
		}
		if client == 0 && gone(atClient) {
			client = now
		}
		if err := await.Pause(ctx, sampleEvery); err != nil {
			return server, client, err
		}
	}
	return server, client, nil
}

// longestPause is the longest time between two moments without a new byte for
// the application.
func (t trace) longestPause(from, to time.Duration) (longest time.Duration) {
	last := t[t.index(from)]
	for _, s := range t[t.index(from):t.index(to)] {
		longest = max(longest, s.at-last.at)
		if s.total != last.total {
			last = s
		}
	}
	return longest
}

// upload is bulk from the client to the server beside a download.
type upload struct {
	c      *connection
	ending chan struct{}
	moving sync.WaitGroup
}

func (c *connection) startUpload() *upload {
	u := &upload{c: c, ending: make(chan struct{})}
	u.moving.Go(func() {
		block := make([]byte, 32<<10)
		for {
			select {
			case <-u.ending:
				return
			default:
			}
			if _, err := c.client.Write(block); err != nil {
				return // the end of the download tells
			}
		}
	})
	u.moving.Go(func() {
		block := make([]byte, 256<<10)
		for {
			if _, err := c.server.Read(block); err != nil {
				return
			}
		}
	})
	return u
}

// end ends the upload, and waits until the server has all of it.
func (u *upload) end() error {
	close(u.ending)
	deadline := time.Now().Add(patience)
	err := errors.Join(u.c.client.SetWriteDeadline(deadline), u.c.server.SetReadDeadline(deadline), u.c.client.CloseWrite())
	u.moving.Wait()
	return err
}
