// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// barrierPatience is how long the service manager may take to read what it was
// told.
const barrierPatience = 5 * time.Second

// PIDVariables of the environment name the process that they are for. Another
// one that inherits them has to do without.
var PIDVariables = []string{"WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// Supervised reports whether a service manager wants to be told.
func Supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Ready says that the program serves, after its start or a reload, and in a line
// what it does. The error is that of a manager which is not there any more, as
// those of the others are.
func Ready(status string) error { return tell(daemon.SdNotifyReady, state("STATUS", status)) }

// Reloading says that the configuration is read again, until Ready.
func Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return tell(daemon.SdNotifyReloading, state("MONOTONIC_USEC", strconv.FormatInt(now.Nano()/1000, 10)))
}

// Stopping says that the program is about to end, and in a line what it waits
// for.
func Stopping(status string) error { return tell(daemon.SdNotifyStopping, state("STATUS", status)) }

// Status says in a line what the program does.
func Status(status string) error { return tell(state("STATUS", status)) }

// MainPID says that another process of the service is its main one from now on,
// which says the rest. When it returns the manager knows.
func MainPID(pid int) error {
	if err := tell(state("MAINPID", strconv.Itoa(pid))); err != nil {
		return err
	}
	return barrier()
}

// state is an assignment; a value is one line.
func state(name, value string) string {
	return name + "=" + strings.ReplaceAll(value, "\n", " ")
}

func tell(states ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// barrier waits until the manager has read everything: it closes the descriptor
// that it gets then (sd_notify_barrier(3)).
func barrier() error {
	if !Supervised() {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	manager := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	if err := unix.Sendmsg(socket, []byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), manager, 0); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(barrierPatience)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the service manager does not listen: %w", err)
	}
	return nil
}
