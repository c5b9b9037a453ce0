// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/options/tuning"
	"github.com/tandem-gateway/tandem/paths"
)

// patience with what ought to happen soon.
const patience = 30 * time.Second

// stage is a client with two links to a server. Both are this process; the server
// honours what the client asks for in TCP options.
type stage struct {
	*lab.TwoPath
	programs   *bpf.Programs
	steering   *bpf.Steering
	congestion string
	manager    *paths.Engine // of the client; nil is the kernel's
	ln         *net.TCPListener
	serving    sync.WaitGroup

	mu       sync.Mutex
	asked    map[uint32]options.Set // by the server's token
	granted  map[request]time.Time
	answered map[request]time.Time
	err      error // of what was asked
}

// request is an option of a connection, which is named by the token of who hears
// of it: of the server what is granted, of the client what is answered.
type request struct {
	token  uint32
	option options.Option
}

// stageSpec says what a stage is like.
type stageSpec struct {
	links lab.TwoPathSpec
	// congestion control of the server where nobody asks for another.
	congestion string
	// single leaves the second link alone.
	single bool
}

func newStage(ctx context.Context, spec stageSpec) (*stage, error) {
	tp, err := lab.NewTwoPath("optionsbench", spec.links)
	if err != nil {
		return nil, err
	}
	s := &stage{TwoPath: tp, congestion: spec.congestion, asked: map[uint32]options.Set{},
		granted: map[request]time.Time{}, answered: map[request]time.Time{}}
	if err := s.setUp(ctx, spec); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context, spec stageSpec) error {
	if spec.single {
		if err := s.Client.Command(ctx, "ip", "mptcp", "endpoint", "flush").Run(); err != nil {
			return err
		}
	}
	// The server is the one whose subflows wait for a kick.
	if err := s.Aggregator.Do(func() (err error) {
		s.programs, err = bpf.Open(bpf.Options{Steering: true, Requests: true})
		return err
	}); err != nil {
		return err
	}
	if err := s.programs.Missing(); err != nil {
		return err
	}
	s.steering = s.programs.Steering()
	s.serving.Go(s.serve)
	return s.Aggregator.Do(func() (err error) {
		s.ln, err = mptcp.NewListener(netip.AddrPortFrom(s.AggregatorAddr.V4, 0), mptcp.ListenOptions{Mode: mptcp.ModeRequire})
		return err
	})
}

func (s *stage) close() error {
	if s.ln != nil {
		s.ln.Close()
	}
	var err error
	if s.programs != nil {
		err = s.programs.Close()
	}
	s.serving.Wait()
	return errors.Join(err, s.Close())
}

// serve grants what clients ask for, as far as it can be, until the programs are
// closed.
func (s *stage) serve() {
	var a bpf.Asked
	for s.steering.Read(&a) == nil {
		if a.UserTimeout > 0 {
			s.note(s.follow(&a))
			continue
		}
		option := options.Option(a.Type)
		if a.Answer {
			s.mu.Lock()
			s.answered[request{a.Token, option}] = time.Now()
			s.mu.Unlock()
			continue
		}
		value := options.Value(a.Value[0])<<16 | options.Value(a.Value[1])<<8 | options.Value(a.Value[2])
		s.note(s.grant(&a, option, value))
	}
}

// note keeps what went wrong.
func (s *stage) note(err error) {
	if err != nil {
		s.mu.Lock()
		s.err = errors.Join(s.err, err)
		s.mu.Unlock()
	}
}

// follow has a client do as the server announces.
func (s *stage) follow(a *bpf.Asked) error {
	err := s.Client.Do(func() error {
		return s.steering.Set(a.Token, bpf.Policy{Options: bpf.SubflowOptions{options.UserTimeout: uint32(a.UserTimeout.Milliseconds())}})
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted[request{a.Token, options.UserTimeout}] = time.Now()
	return err
}

// grant puts an option into force and answers. A request that is repeated because
// the answer is under way changes nothing.
func (s *stage) grant(a *bpf.Asked, option options.Option, value options.Value) error {
	s.mu.Lock()
	before := s.asked[a.Token]
	set, err := before.With(option, value)
	s.asked[a.Token] = set
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Aggregator.Do(func() error {
		if set != before {
			if err := s.steering.Set(a.Token, s.in(tuning.PolicyOf(set))); err != nil {
				return err
			}
			s.mu.Lock()
			s.granted[request{a.Token, option}] = time.Now()
			s.mu.Unlock()
		}
		return s.steering.Answer(bpf.Reply{Token: a.Token, Subflow: a.Subflow, Record: a.Record})
	})
}

// served is what went wrong while clients were served.
func (s *stage) served() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// ask has a client ask for an option as it is written in configurations.
func (s *stage) ask(c *connection, o options.Option, text string) error {
	v, err := o.Parse(text)
	if err != nil {
		return err
	}
	return s.Client.Do(func() error {
		return s.steering.Ask(c.clientToken, 0, bpf.Record{Type: uint8(o), Value: [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}})
	})
}

// answerTo waits for the answer that a client gets, and tells when it came.
func (s *stage) answerTo(ctx context.Context, c *connection, o options.Option) (time.Time, error) {
	var at time.Time
	err := await.Until(ctx, patience, time.Millisecond, "answer for "+o.String(), func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		at = s.answered[request{c.clientToken, o}]
		return !at.IsZero(), s.err
	})
	return at, err
}

// grantedAt is when an option that was asked for came into force, which is waited
// for.
func (s *stage) grantedAt(ctx context.Context, c *connection, o options.Option) (at time.Time, err error) {
	err = await.Until(ctx, patience, time.Millisecond, "grant of "+o.String(), func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		at = s.granted[request{c.serverToken, o}]
		return !at.IsZero(), s.err
	})
	return at, err
}

// steer has the server treat a connection in another way, unasked.
func (s *stage) steer(c *connection, p bpf.Policy) error {
	return s.Aggregator.Do(func() error { return s.steering.Set(c.serverToken, s.in(p)) })
}

// in is a policy with the congestion control of this stage, unless it has one. A
// namespace of its own may not choose cubic with a sysctl.
func (s *stage) in(p bpf.Policy) bpf.Policy {
	if p.CongestionControl == "" {
		p.CongestionControl = s.congestion
	}
	return p
}
