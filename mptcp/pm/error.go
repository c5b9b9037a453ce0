// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrNotUserspace: the connection was created while the path manager of
	// the namespace was not the userspace one, so that it takes no command.
	ErrNotUserspace = errors.New("connection does not belong to the userspace path manager")
	// ErrGone: the connection, subflow, address or endpoint that a command is
	// about does not exist, or not any more. It is normal for a command to
	// lose that race.
	ErrGone = errors.New("no such connection, subflow or address")
)

// OpError is what the kernel answered to a command. errors.Is finds its errno,
// and ErrNotUserspace and ErrGone where they apply.
type OpError struct {
	// Op is what was tried, such as "create subflow".
	Op string
	// Token of the connection; 0 for endpoints and limits.
	Token uint32
	Errno unix.Errno
	// Message is the kernel's own words, empty where it has none.
	Message string

	gone bool
}

// Error names the operation, the connection, the errno and the kernel's words.
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Token != 0 {
		fmt.Fprintf(&b, " of connection %08x", e.Token)
	}
	fmt.Fprintf(&b, ": %v", e.Errno)
	if e.Message != "" {
		fmt.Fprintf(&b, " (%s)", e.Message)
	}
	return b.String()
}

// Unwrap returns the errno.
func (e *OpError) Unwrap() error { return e.Errno }

// Is makes errors.Is find the sentinels.
func (e *OpError) Is(target error) bool {
	switch target {
	case ErrNotUserspace:
		return strings.Contains(e.Message, "userspace PM not selected")
	case ErrGone:
		return e.gone
	}
	return false
}

// opError turns an error of package netlink into an OpError if it came from
// the kernel.
func opError(op string, token uint32, err error) error {
	if err == nil {
		return nil
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", op, err)
	}
	e := &OpError{Op: op, Token: token, Errno: errno}
	var answer *netlink.OpError
	if errors.As(err, &answer) {
		e.Message = answer.Message
	}
	// The kernel tells most cases apart by words only: net/mptcp/pm_userspace.c
	// and pm_kernel.c.
	e.gone = errno == unix.ESRCH || strings.Contains(e.Message, "invalid token") || strings.Contains(e.Message, "not found")
	return e
}
