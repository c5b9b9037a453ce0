// SPDX-License-Identifier: Apache-2.0

// Package suite lists all experiments of `tandem bench`.
package suite

import (
	"maps"
	"slices"

	"github.com/tandem-gateway/tandem/bench/applications"
	"github.com/tandem-gateway/tandem/bench/capacity/curve"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/options"
	"github.com/tandem-gateway/tandem/bench/passive"
	"github.com/tandem-gateway/tandem/bench/paths"
	"github.com/tandem-gateway/tandem/bench/relay"
)

// Experiments are all of them, in the order in which they run.
func Experiments() []experiment.Experiment {
	return slices.Concat(
		paths.Experiments,
		options.Experiments,
		applications.Experiments,
		relay.Experiments,
		curve.Experiments,
		passive.Experiments,
	)
}

// Children are the processes that they start of the program that runs them.
func Children() map[string]experiment.Child {
	all := map[string]experiment.Child{}
	for _, some := range []map[string]experiment.Child{
		relay.Children,
		options.Children,
	} {
		maps.Copy(all, some)
	}
	return all
}
