// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// givenUp are the numbers of paths that a set gives a rate of 0. There is none
// if it does so for every path, since one has to be used.
func givenUp(s options.Set) (numbers []int) {
	v, _ := s.Effective().Value(options.SubflowRateLimit)
	if l := v.RateLimit(); s.Has(options.SubflowRateLimit) && !l.Unlimited && l.Rate == 0 && l.Path > 0 {
		numbers = append(numbers, l.Path)
	}
	return numbers
}

// giveUp has the subflows closed of those paths of a leg whose rate is to be 0:
// by what is granted, or by what the hop was asked for, since the peer closes
// none that this end has opened. It takes back what is not to be any more.
func (s *session) giveUp(end int, status mptcp.Status) {
	c, manager := s.choices, s.worker.server.opts.Paths
	if c == nil || manager == nil || !status.MPTCP {
		return
	}
	granted := givenUp(c.grants.Granted())
	numbers := granted
	if end == relay.Server && c.hop != nil {
		numbers = append(numbers, givenUp(c.hop.Asked)...)
	}
	if len(numbers) == 0 && !c.gaveUp[end] {
		return
	}
	c.gaveUp[end] = len(numbers) > 0
	c.pending++
	decision := c.decision
	manager.Drain(status.Token, numbers, func(err error) {
		var notes []options.Reason
		if err != nil && len(granted) > 0 {
			why := fmt.Errorf("path %d takes no more data, and stays open: %w", granted[0], err)
			notes = append(notes, options.Reason{Option: options.SubflowRateLimit, Err: why, InForce: true})
		}
		_ = s.worker.loop.Post(func() { c.tuned(decision, notes) }) // else everything has ended
	})
}
