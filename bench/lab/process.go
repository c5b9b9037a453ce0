// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end after SIGTERM.
const stopGrace = 2 * time.Second

// Process is a command that runs inside a host's namespace. Unlike
// `ip netns exec`, which mounts /sys anew, it keeps all mounts, so that bpffs
// and cgroups stay visible. The exported fields are read by Start and mean what
// they mean in [exec.Cmd].
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            []string
	Dir            string
	ExtraFiles     []*os.File

	host *Host
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of the exit; valid once done is closed
}

// Command prepares a process. When ctx ends, the process gets SIGTERM and,
// some seconds later, SIGKILL. It runs in a process group of its own, so that
// Ctrl-C at a terminal does not reach it past its owner.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Process {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &Process{host: h, cmd: cmd, done: make(chan struct{})}
}

// Start starts the process and returns at once.
func (p *Process) Start() error {
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	p.cmd.Env, p.cmd.Dir, p.cmd.ExtraFiles = p.Env, p.Dir, p.ExtraFiles
	// A child inherits the namespace of the thread that forks it.
	err := p.host.lab.start(p, func() error { return p.host.Do(p.cmd.Start) })
	if err != nil {
		return fmt.Errorf("start %s on %s: %w", p.cmd.Path, p.host.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		p.host.lab.forget(p)
	}()
	return nil
}

// Wait waits for a started process to end and for its output to be read. The
// error is that of [exec.Cmd.Wait]. It may be called more than once.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Run starts the process and waits for it.
func (p *Process) Run() error {
	if err := p.Start(); err != nil {
		return err
	}
	return p.Wait()
}

// Output runs the process and returns its standard output. If Stderr is nil,
// the error carries what was written there.
func (p *Process) Output() ([]byte, error) {
	var out, errOut bytes.Buffer
	p.Stdout = &out
	collect := p.Stderr == nil
	if collect {
		p.Stderr = &errOut
	}
	err := p.Run()
	if err != nil && collect && errOut.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.Bytes(), err
}

// Pid is the process id of a started process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// ExitCode is the exit code of an ended process, -1 if a signal ended it or it
// has not ended.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Signal sends a signal to a started process. The error is
// [os.ErrProcessDone] when it has ended.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process: SIGTERM, SIGKILL after some seconds. It returns when
// the process is gone; how it ended is not an error.
func (p *Process) Stop() error { return endProcesses([]*Process{p}) }

// endProcesses ends all given processes at once.
func endProcesses(ps []*Process) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, signalIfAlive(p, syscall.SIGTERM))
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	expired := false
	for _, p := range ps {
		if !expired {
			select {
			case <-p.done:
				continue
			case <-grace.C:
				expired = true
			}
		}
		errs = append(errs, signalIfAlive(p, syscall.SIGKILL))
		<-p.done
	}
	return errors.Join(errs...)
}

func signalIfAlive(p *Process, sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s to %s: %w", sig, p.cmd.Path, err)
	}
	return nil
}
