// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/config"
)

// TestSOCKSTimeouts takes over what belongs to commands other than CONNECT.
func TestSOCKSTimeouts(t *testing.T) {
	c, err := config.Parse("test.yaml", []byte(`
listeners:
  - name: phones
    type: socks5
    listen: ["127.0.0.1:1080"]
    socks5: {bind: true, bind-timeout: 7s, udp-idle: 9s}
`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSetup(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.listeners[0].Timeouts; got.Bind != 7*time.Second || got.Associate != 9*time.Second {
		t.Errorf("timeouts %+v", got)
	}
}
