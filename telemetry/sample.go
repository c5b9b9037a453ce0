// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/resolve"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Sample is what a gateway has counted at one moment.
type Sample struct {
	Proxy     proxy.Stats
	Upstreams map[string][]proxy.HopStatus // health of the hops, by the name of the upstream
	Resolver  resolve.Stats
	Paths     *paths.Counters // nil: the kernel manages all subflows
	// OptionsIgnored are requests in TCP options that were dropped.
	OptionsIgnored uint64
	HeldJoins      *bpf.HeldJoins // nil: nobody looks at what peers open
	// Subscribers is nil where no listener has any.
	Subscribers *Subscribers

	Version   string
	Started   time.Time
	Draining  bool
	LoopDelay time.Duration // until the slowest event loop answered
	OpenFiles uint64
	FileLimit uint64
	Records   Losses
	Traces    Losses
}

// Subscribers are counts of subscribers, and of the questions about them.
type Subscribers struct {
	Policies map[string]subscribers.PolicyStats // by name; there are as many as are configured
	Answers  subscribers.Stats
	// Accounting are the records for RADIUS servers, Waiting those of them that
	// were not taken yet.
	Accounting Losses
	Waiting    int
}

// Losses count what was handed on to a collector or a file, and what was not.
type Losses struct {
	Written uint64
	Dropped uint64 // there was no room to keep it until it could be written
	Failed  uint64 // could not be written
}

type (
	listenerStats = proxy.ListenerStats
	hopStats      = proxy.HopStats
	causeCounts   = map[paths.Cause]uint64
)
