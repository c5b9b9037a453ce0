// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
)

// SetAll is Set for many connections, by token, with one walk through the
// sockets for all of them: of thousands, Set for each takes minutes. A nil
// policy is Clear. It returns the errors of those that failed, by token; the
// others are as they were asked to be.
func (s *Steering) SetAll(policies map[uint32]*Policy) (failed map[uint32]error) {
	failed = map[uint32]error{}
	fail := func(token uint32, err error) {
		if err != nil {
			failed[token] = fmt.Errorf("steer connection %08x: %w", token, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	for token, p := range policies {
		fail(token, s.put(token, p))
	}
	if len(failed) == len(policies) {
		return failed
	}
	subflows := make(map[uint32]int, len(policies))
	err := s.walk(func(token, _ uint32) {
		if _, ok := policies[token]; ok {
			subflows[token]++
		}
	})
	for token, p := range policies {
		if failed[token] != nil || err == nil && (p == nil || subflows[token] > 0) {
			continue
		}
		why := err
		if why == nil {
			why = ErrNoSubflow
		}
		fail(token, errors.Join(why, s.forget(token)))
	}
	return failed
}

// put replaces a policy in the map, and does nothing about it.
func (s *Steering) put(token uint32, p *Policy) error {
	if p == nil {
		return s.forget(token)
	}
	raw, err := s.raw(*p)
	if err != nil {
		return err
	}
	raw.Generation = s.generation
	if err := s.common.Maps[schedulerMapPolicies].Put(&token, raw); err != nil {
		return err
	}
	if p.AdvertisedUserTimeout == 0 {
		return nil
	}
	request, err := userTimeoutOption(p.AdvertisedUserTimeout)
	if err == nil {
		err = s.enqueue(token, request)
	}
	if errors.Is(err, ErrBusy) {
		return nil
	}
	return err
}
