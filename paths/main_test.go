// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleVariable makes this test binary another process.
const roleVariable = "TANDEM_PATHS_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "unprivileged" {
		_, err := New(Options{})
		fmt.Printf("unavailable: %t\n%v\n", errors.Is(err, ErrUnavailable), err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
