// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// DefaultInterval is how often the status is told where there is no watchdog.
const DefaultInterval = 15 * time.Second

// Watched is what Watch asks.
type Watched struct {
	// Alive returns an error if the program does not do its work. It is called
	// with the time between two signs of life, and may take as long.
	Alive func(context.Context) error
	// Status is a line about what the program does.
	Status func() string
	Log    *slog.Logger
}

// Watch gives the service manager signs of life while the program does its work,
// until ctx ends: twice as often as the watchdog of the service wants them. A
// service whose signs fail to come is ended and started again.
func Watch(ctx context.Context, w Watched) error {
	if !Supervised() {
		return nil
	}
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	interval := timeout / 2
	if timeout == 0 {
		interval = DefaultInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		w.sign(ctx, interval, timeout > 0)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sign gives one sign of life.
func (w *Watched) sign(ctx context.Context, patience time.Duration, watchdog bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := w.Alive(ctx); err != nil {
		if context.Cause(ctx) != context.Canceled {
			w.Log.Error("no sign of life for the service manager", "err", err)
			_ = Status(err.Error()) // the log has it
		}
		return
	}
	states := []string{state("STATUS", w.Status())}
	if watchdog {
		states = append(states, daemon.SdNotifyWatchdog)
	}
	if err := tell(states...); err != nil {
		w.Log.Warn("the service manager cannot be told", "err", err)
	}
}
