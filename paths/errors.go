// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// ErrUnavailable reports that this kernel, or the privileges of this process,
// do not allow path managers other than that of the kernel. The error says
// what is missing.
var ErrUnavailable = errors.New("path managers are not available")

// unavailable says what an error of the kernel means for the whole.
func unavailable(err error) error {
	hint := ""
	switch {
	case errors.Is(err, mptcp.ErrUnsupported):
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = " (needs CAP_NET_ADMIN)"
	case errors.Is(err, os.ErrNotExist):
		hint = " (needs Linux 5.19 for the path manager in user space)"
	case errors.Is(err, unix.EROFS):
		hint = " (/proc/sys is mounted read-only)"
	default:
		return fmt.Errorf("path managers: %w", err)
	}
	return fmt.Errorf("%w: %w%s; the kernel's own one works", ErrUnavailable, err, hint)
}
