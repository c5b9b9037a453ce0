// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// environment tells a successor that it is one: the number of descriptors that
// follow the socket pair.
const environment = "TANDEM_HANDOVER"

// firstFD is the successor's end of the socket pair; what is handed over
// follows.
const firstFD = 3

// Messages. Each is a line of JSON.
type (
	will struct {
		State json.RawMessage `json:"state"`
	}
	word struct {
		Ready bool `json:"ready,omitempty"` // of the successor
		Left  bool `json:"left,omitempty"`  // of the predecessor
	}
)

// ErrFailed is a successor that has ended, or was ended, before it was ready.
var ErrFailed = errors.New("the new process did not become ready")

// errNonsense is a message that is none of ours.
var errNonsense = errors.New("it says what nobody has asked for")

// Options of Start.
type Options struct {
	// Command is the program, by its path, and its arguments.
	Command []string
	// FDs are given to the successor. They stay open here as well.
	FDs []int
	// State is encoded as JSON for the successor. It says what FDs are, by their
	// indices.
	State any
	// Drop names variables of the environment that the successor does not get.
	Drop []string
	// Sibling makes the successor a child of this process' parent, which has to
	// wait for its end: systemd wants main processes to be its own. How one has
	// ended that was not ready is not known then. An init process has no parent,
	// and has its successors as children.
	Sibling bool
}

// Successor is a process that has taken over.
type Successor struct {
	PID  int
	talk net.Conn
}

// Start starts a successor and returns when it is ready. If it ends before, or
// ctx does, which ends it, the error wraps ErrFailed and nothing has changed.
func Start(ctx context.Context, o Options) (*Successor, error) {
	state, err := json.Marshal(o.State)
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	files := []uintptr{0, 1, 2, uintptr(theirs)}
	for _, fd := range o.FDs {
		files = append(files, uintptr(fd))
	}
	attributes := &syscall.ProcAttr{Env: o.environ(), Files: files}
	if o.Sibling && os.Getpid() != 1 {
		attributes.Sys = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	}
	pid, err := syscall.ForkExec(o.Command[0], o.Command, attributes)
	unix.Close(theirs)
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("hand over: start %s: %w", o.Command[0], err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("hand over: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { ours.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err = tell(ours, will{state})
	if err == nil {
		var w word
		if err = hear(ours, &w); err == nil && !w.Ready {
			err = errNonsense
		}
	}
	if err == nil && stop() {
		go process.Wait() // no zombie, should it end before this process
		return &Successor{PID: pid, talk: ours}, nil
	}
	ours.Close()
	_ = process.Kill()             // it may have ended already
	how, waitErr := process.Wait() // of no child of ours, that is an error
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrFailed, context.Cause(ctx))
	case waitErr == nil && how.Exited() && !errors.Is(err, errNonsense): // nonsense is the better reason
		return nil, fmt.Errorf("%w: it ended with %v", ErrFailed, how)
	}
	return nil, fmt.Errorf("%w: %w", ErrFailed, err)
}

func (o *Options) environ() []string {
	drop := append([]string{environment}, o.Drop...)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(drop, name)
	})
	return append(env, environment+"="+strconv.Itoa(len(o.FDs)))
}

// Leave tells the successor that this process has let go of what only one can
// have.
func (s *Successor) Leave() error {
	err := tell(s.talk, word{Left: true})
	return errors.Join(err, s.talk.Close())
}

// pair makes a socket pair: one end for us, and a descriptor for the other.
func pair() (net.Conn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, err
	}
	c, err := connection(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return c, fds[1], nil
}

// connection takes over a descriptor.
func connection(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	return net.FileConn(f)
}

func tell(c net.Conn, message any) error { return json.NewEncoder(c).Encode(message) }

// hear reads one message. The other side sends no second one before it has an
// answer.
func hear(c net.Conn, message any) error {
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, message); err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	return nil
}
