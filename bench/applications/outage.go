// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
)

// outage is a way to lose the Wi-Fi of a phone.
type outage struct{ begin, end []string }

var (
	// silent is one that nobody is told of, as when a phone leaves the house.
	silent = outage{[]string{"wifi.loss=100%"}, []string{"wifi.loss=0.2%"}}
	// seen is one that the phone notices.
	seen = outage{[]string{"wifi.up=false"}, []string{"wifi.up=true"}}
)

// happen has the outage begin after some time and end after some more.
func (o outage) happen(ctx context.Context, t *trial, after, length time.Duration) error {
	for _, phase := range []struct {
		wait     time.Duration
		settings []string
	}{{after, o.begin}, {length, o.end}} {
		if err := await.Pause(ctx, phase.wait); err != nil {
			return err
		}
		for _, s := range phase.settings {
			if err := t.Set(s); err != nil {
				return err
			}
		}
	}
	return nil
}
