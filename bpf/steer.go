// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
)

// Scheduler says which paths carry the next bytes of a connection.
type Scheduler uint8

// The schedulers.
const (
	Default       Scheduler = iota // the kernel's own
	Primary                        // the first path, others only while it does not answer
	SmallestDelay                  // the path with the smallest RTT
	RoundRobin                     // all in equal shares
	Weighted                       // all in shares by PathPolicy.Weight
	Server                         // the path that data last came on
	Overflow                       // the next path only while those before it are full
	Auto                           // one path, and others only while they add to what arrives
)

const (
	// MaxPaths is how many paths of a connection are told apart.
	MaxPaths = 8
	// MinRateLimit is the lowest RateLimit, in bit/s: below, one path would
	// hold up what travels on the others.
	MinRateLimit = 64_000

	unlimited   = math.MaxUint32
	bitsPerByte = 8
)

// ErrPolicy reports a Policy that cannot be.
var ErrPolicy = errors.New("policy is not valid")

// PathPolicy is what is asked of one path.
type PathPolicy struct {
	// Weight is the share of the path, for Weighted; 0 uses it only if there is
	// no other.
	Weight uint8
	// RateLimit caps what is sent on the path, in bit/s, from MinRateLimit on;
	// 0 is no limit.
	RateLimit uint64
	// Drain lets the path take no new data, unless it is the only one. The
	// subflow may be closed without loss once PathState.Queued is 0.
	Drain bool
}

// SubflowOptions are values of socket options of subflows, by the type that an option
// has on the wire and in the unit that kernel/options.h has for it; 0 leaves one to
// the kernel. Whether a value can be is for the kernel to say: see PathState.Refused.
type SubflowOptions [len(schedulerSubflowOptions{}.Of)]uint32

// Policy is what is asked of a connection. The zero value is the kernel's own
// behaviour.
//
// Paths are numbered in the order in which they appeared: 0 is that of the
// first subflow. A path that comes back, with the same identifiers of both
// addresses, has the number that it had.
type Policy struct {
	Scheduler Scheduler
	// DelayThreshold, when not 0, keeps data off all paths but the first as long
	// as the smoothed RTT of that is not above it. Going back takes a quarter
	// less. In microseconds.
	DelayThreshold time.Duration
	// CongestionControl is one of those that Steering.Supported tells; empty is
	// what the connection has.
	CongestionControl string
	// Options are what its subflows have.
	Options SubflowOptions
	// AdvertisedUserTimeout, when not 0, is what the peer is told of the user timeout
	// (RFC 5482), rounded up to seconds, or to minutes above about nine hours,
	// whenever the policy is set. That is advice: it is not answered, written on
	// AnswerAttempts packets, and left out while MaxRequests requests are in flight.
	AdvertisedUserTimeout time.Duration
	Paths                 [MaxPaths]PathPolicy
}

// Set replaces the policy of the connection with that local token, at once: its
// subflows that exist are brought in line, those to come will begin so. It is
// forgotten with the connection.
//
// It walks all TCP sockets of the calling thread's network namespace. The error
// matches ErrPolicy for a policy that cannot be, ErrUnavailable for one that
// this kernel cannot do, and ErrNoSubflow where there is nothing to steer.
func (s *Steering) Set(token uint32, p Policy) error {
	return s.SetAll(map[uint32]*Policy{token: &p})[token]
}

// Clear gives a connection back to the kernel. It is no error if it has no
// policy.
func (s *Steering) Clear(token uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.forget(token)
	if err == nil {
		_, err = s.bringInLine(token)
	}
	if err != nil {
		return fmt.Errorf("clear connection %08x: %w", token, err)
	}
	return nil
}

func (s *Steering) forget(token uint32) error {
	for _, m := range []string{schedulerMapPolicies, schedulerMapConnections, schedulerMapOutgoing} {
		if err := s.common.Maps[m].Delete(&token); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// raw translates a policy.
func (s *Steering) raw(p Policy) (*schedulerPolicy, error) {
	raw := &schedulerPolicy{}
	switch p.Scheduler {
	case Default:
		raw.Scheduler = schedulerSchedulerDEFAULT
	case Primary:
		raw.Scheduler = schedulerSchedulerPRIMARY
	case SmallestDelay:
		raw.Scheduler = schedulerSchedulerSMALLEST_DELAY
	case RoundRobin, Weighted:
		raw.Scheduler = schedulerSchedulerWEIGHTED
	case Server:
		raw.Scheduler = schedulerSchedulerSERVER
	case Overflow:
		raw.Scheduler = schedulerSchedulerOVERFLOW
	case Auto:
		raw.Scheduler = schedulerSchedulerAUTO
	default:
		return nil, fmt.Errorf("%w: scheduler %d", ErrPolicy, p.Scheduler)
	}
	if us := p.DelayThreshold.Microseconds(); us < 0 || us > unlimited {
		return nil, fmt.Errorf("%w: delay threshold %v", ErrPolicy, p.DelayThreshold)
	} else {
		raw.DelayThresholdUs = uint32(us)
	}
	if err := s.setFamily(raw, p.CongestionControl); err != nil {
		return nil, err
	}
	raw.Options.Of = p.Options
	weights := 0
	for i, path := range p.Paths {
		raw.Weight[i] = path.Weight
		if p.Scheduler == RoundRobin {
			raw.Weight[i] = 1
		}
		weights += int(raw.Weight[i])
		switch {
		case path.Drain:
			raw.Limit[i] = 0
		case path.RateLimit == 0:
			raw.Limit[i] = unlimited
		case path.RateLimit < MinRateLimit:
			return nil, fmt.Errorf("%w: rate limit of %d bit/s on path %d: take at least %d, or Drain",
				ErrPolicy, path.RateLimit, i, MinRateLimit)
		default:
			raw.Limit[i] = uint32(min(path.RateLimit/bitsPerByte, unlimited))
		}
	}
	if p.Scheduler == Weighted && weights == 0 {
		return nil, fmt.Errorf("%w: no path has a weight", ErrPolicy)
	}
	return raw, nil
}

func (s *Steering) setFamily(raw *schedulerPolicy, name string) error {
	if name == "" {
		return nil
	}
	for family, known := range wrappable {
		if known != name {
			continue
		}
		if why := s.without[name]; why != nil {
			return unavailable("register", name, "it cannot be chosen for connections that are steered", why)
		}
		raw.Family = schedulerFamily(family)
		return nil
	}
	return fmt.Errorf("%w: congestion control %q is none of those that can be steered", ErrPolicy, name)
}

// RefusedOptions is a set of options of subflows, with a bit for each type.
type RefusedOptions uint32

// Has reports whether the option of a type on the wire is in the set.
func (r RefusedOptions) Has(option uint8) bool { return r>>option&1 != 0 }

// Unnumbered stands for the number of a subflow that the peer opened while a
// system call held the connection: the kernel takes it up when that ends.
const Unnumbered = math.MaxUint32

// PathState is what is known of a path.
type PathState struct {
	// Subflow is the number of its live subflow (mptcp.Subflow.ID); 0 is none,
	// and Unnumbered one that the kernel has not numbered yet.
	Subflow uint32
	// Limit is the highest rate in force, in bit/s: 0 while the path is skipped,
	// math.MaxUint64 while there is no limit.
	Limit uint64
	// Sent are bytes handed to the subflow, without retransmissions; Queued
	// those of them that the peer has not acknowledged.
	Sent   uint64
	Queued uint32
	SRTT   time.Duration
	MinRTT time.Duration
	// Rate is what was delivered lately, in bit/s.
	Rate uint64
	// Refused are options of the policy that the kernel did not take on the
	// live subflow.
	Refused RefusedOptions
	// Silent tells that the retransmission timer fired since the last ACK.
	Silent bool
}

// State is what is known of a connection with a policy, as of the last ACK on
// each path, or of one in the 2 ms before while data is on the way under a policy
// with the scheduler Default and without a DelayThreshold. The error matches
// ErrNoSubflow if it has none.
func (s *Steering) State(token uint32) ([MaxPaths]PathState, error) {
	var paths [MaxPaths]PathState
	var raw schedulerConnection
	err := s.common.Maps[schedulerMapConnections].Lookup(&token, &raw)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err = ErrNoSubflow
	}
	if err != nil {
		return paths, fmt.Errorf("state of the connection: %w", err)
	}
	for i, p := range raw.Paths {
		paths[i] = PathState{
			Subflow: p.Subflow,
			Limit:   uint64(p.Limit) * bitsPerByte,
			Sent:    p.Assigned,
			Queued:  p.Unacked,
			SRTT:    time.Duration(p.SrttUs) * time.Microsecond,
			MinRTT:  time.Duration(p.MinRttUs) * time.Microsecond,
			Rate:    p.Rate * bitsPerByte,
			Refused: RefusedOptions(p.Refused),
			Silent:  p.Lost != 0,
		}
		if p.Limit == unlimited {
			paths[i].Limit = math.MaxUint64
		}
	}
	return paths, nil
}

// CongestionControls says of each one that can be steered why it cannot be on
// this kernel, nil if it can.
func (s *Steering) CongestionControls() map[string]error {
	all := make(map[string]error, len(wrappable))
	for _, name := range wrappable {
		if name != "" {
			all[name] = s.without[name]
		}
	}
	return all
}
