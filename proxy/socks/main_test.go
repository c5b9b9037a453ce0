// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// await polls a condition that other goroutines bring about.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
