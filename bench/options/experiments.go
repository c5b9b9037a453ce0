// SPDX-License-Identifier: Apache-2.0

package options

import "github.com/tandem-gateway/tandem/bench/experiment"

// Experiments of this package, in the order in which they run.
var Experiments = []experiment.Experiment{
	rateLimit, delayThreshold, congestionControl, initialWindow, userTimeout, overhead, atScale, atScaleByAPI,
	weightedSplit, overflowing, schedulersThin, schedulersBulk, autoGrid,
}

// Children are the processes that they start.
var Children = map[string]experiment.Child{overheadChild: serveOverhead, scaleChild: serveScale, scaleEndsChild: serveScaleEnds}
