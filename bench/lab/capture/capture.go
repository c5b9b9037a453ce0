// SPDX-License-Identifier: Apache-2.0

// Package capture records the TCP segments that cross a device of a lab, with
// tcpdump.
package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/trace/packet"
)

// fileHeaderLen is the length of the header of a pcap file
// (draft-ietf-opsawg-pcap, section 4).
const fileHeaderLen = 24

// timeouts for tcpdump to begin and to end.
const (
	startTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
)

// Capture is a running or finished recording.
type Capture struct {
	process *lab.Process
	file    string
	log     *watcher
}

// Headers are arguments of tcpdump for captures of headers alone, of which many
// fit into its buffer: none is lost while the machine is busy.
var Headers = []string{"-s", "192", "-B", "16384"}

// Start records the packets on a device that match a filter (pcap-filter(7))
// into a file, and returns when recording has begun. More arguments are for
// tcpdump.
func Start(ctx context.Context, h *lab.Host, dev, filter, file string, more ...string) (*Capture, error) {
	args := append([]string{"-i", dev, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", file}, more...)
	c := &Capture{
		file: file,
		log:  &watcher{text: []byte("listening on"), seen: make(chan struct{})},
		// -Z root: Debian's tcpdump becomes another user, which cannot write
		// into directories of tests.
		process: h.Command(ctx, "tcpdump", append(args, filter)...),
	}
	c.process.Stderr = c.log
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("capture on %s of %q: %w", dev, h.Name(), err)
	}
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-c.log.seen:
		return c, nil
	case <-c.process.Done():
		return nil, fmt.Errorf("capture on %s of %q: tcpdump: %s", dev, h.Name(), c.log)
	case <-timer.C:
		c.process.Stop()
		return nil, fmt.Errorf("capture on %s of %q: tcpdump does not begin: %s", dev, h.Name(), c.log)
	}
}

// File is where the packets are recorded.
func (c *Capture) File() string { return c.file }

// Segments reads what has been recorded so far. A packet may show up a moment
// after it was received: wait for what is expected before Stop.
func (c *Capture) Segments() ([]packet.Segment, error) {
	file, err := os.Open(c.file)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if about, err := file.Stat(); err != nil || about.Size() < fileHeaderLen {
		return nil, err // not flushed yet
	}
	r, err := packet.NewReader(file)
	if err != nil {
		return nil, err
	}
	return r.Rest()
}

// Stop ends the recording and reads it.
func (c *Capture) Stop() ([]packet.Segment, error) {
	if err := c.process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.process.Done():
	case <-timer.C:
		c.process.Stop()
		return nil, errors.New("tcpdump did not stop")
	}
	if err := c.process.Wait(); err != nil {
		return nil, fmt.Errorf("tcpdump: %w: %s", err, c.log)
	}
	return c.Segments()
}

// watcher keeps what is written to it, and closes seen once that holds text.
type watcher struct {
	text []byte
	seen chan struct{}

	mu    sync.Mutex
	buf   []byte
	found bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, p...)
	if !w.found && bytes.Contains(w.buf, w.text) {
		w.found = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.buf))
}
