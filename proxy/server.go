// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/resolve"
	"github.com/tandem-gateway/tandem/redundant"
)

// ErrShutdown ends the connections that outlive the drain time.
var ErrShutdown = errors.New("the proxy was stopped")

// Options of a Server.
type Options struct {
	Workers  int               // event loops; 0 = one per CPU
	Resolver *resolve.Resolver // nil: that of the zero resolve.Config
	Limiter  *policy.Limiter   // nil: no limits
	Recorder Recorder          // nil: none
	SYNACKs  SYNACKs           // nil: unknown
	Paths    Paths             // nil: the path manager of the kernel alone
	Tuner    Tuner             // nil: only what sockets offer
	Log      *slog.Logger      // nil: slog.Default
	// FirstID is less than the ID of any connection: see Server.FreeID.
	FirstID uint64
	// Redundant bounds the streams that are carried several times.
	Redundant redundant.Config
}

// SYNACKs knows the TCP options that servers answered with.
type SYNACKs interface {
	// AppendOptions appends the options of the SYN-ACK that established the
	// connection from the local port to remote, if they are known.
	AppendOptions(dst []byte, local uint16, remote netip.AddrPort) ([]byte, bool)
}

// Server accepts connections on its listeners and relays them.
type Server struct {
	opts    Options
	log     *slog.Logger
	workers []*worker
	streams *redundant.Hub
	limits  atomic.Pointer[policy.Limiter]
	names   atomic.Pointer[resolve.Resolver]
	// networks are the access networks that are told apart; nil: none.
	networks atomic.Pointer[Networks]
	hunger   hunger
	local    atomic.Bool // see KeepLocal

	mu       sync.Mutex
	bindings map[bindingKey]*binding
	closing  bool

	looping sync.WaitGroup // workers
	running sync.WaitGroup // what they have begun
	stop    context.CancelFunc
	ctx     context.Context
}

// NewServer starts the event loops. Close or Shutdown ends them.
func NewServer(o Options) (*Server, error) {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Resolver == nil {
		o.Resolver = resolve.New(resolve.Config{})
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Server{opts: o, log: o.Log, bindings: map[bindingKey]*binding{}, streams: redundant.NewHub(o.Redundant)}
	s.limits.Store(o.Limiter)
	s.names.Store(o.Resolver)
	s.ctx, s.stop = context.WithCancel(context.Background())
	var failure error
	for range o.Workers {
		w, err := newWorker(s)
		if err != nil {
			failure = fmt.Errorf("start worker: %w", err)
			s.stop() // those that exist run only to release what they hold
			break
		}
		s.workers = append(s.workers, w)
	}
	for _, w := range s.workers {
		s.looping.Go(w.run)
	}
	if failure != nil {
		s.looping.Wait()
		return nil, failure
	}
	s.running.Go(func() { s.lookAtNetworks(s.ctx) })
	return s, nil
}

// everyWorker runs f on each loop and waits for all of them.
func (s *Server) everyWorker(f func(*worker)) {
	var wg sync.WaitGroup
	for _, w := range s.workers {
		wg.Add(1)
		if err := w.loop.Post(func() { f(w); wg.Done() }); err != nil {
			wg.Done()
		}
	}
	wg.Wait()
}

// KeepLocal says whether records of connections that begin from now on tell the
// address that servers see. It costs a system call for each of them.
func (s *Server) KeepLocal(on bool) { s.local.Store(on) }

// SetResolver replaces the resolver for new connections.
func (s *Server) SetResolver(r *resolve.Resolver) { s.names.Store(r) }

// Shutdown stops accepting, waits until all connections have ended or ctx
// does, ends the rest with a reset, and stops the loops. It returns the
// number of connections that had to be ended. A second call, with a ctx that
// ends sooner, cuts the first one short.
func (s *Server) Shutdown(ctx context.Context) int {
	s.mu.Lock()
	s.closing = true
	s.replace(nil, nil)
	s.mu.Unlock()
	s.everyWorker((*worker).drain)
	for _, w := range s.workers {
		select {
		case <-w.drained:
		case <-ctx.Done():
		}
	}
	left := int(s.Stats().Active)
	s.stop()
	s.looping.Wait()
	s.streams.Close() // ends what keeps legs
	s.running.Wait()
	return left
}

// Close ends everything at once.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ctx)
}

// hunger is the state of a process that has run out of descriptors.
type hunger struct {
	since   atomic.Bool
	warned  atomic.Int64 // when, in seconds since 1970
	waiting atomic.Int64 // accepted connections that wait for a descriptor
}

// warnAgain is how long a shortage, which may come and go many times a second,
// is warned of once.
const warnAgain = time.Minute

// starved warns that accepting has to wait.
func (s *Server) starved(listener string, err error) {
	s.hunger.since.Store(true)
	now, last := time.Now().Unix(), s.hunger.warned.Load()
	if now-last < int64(warnAgain/time.Second) || !s.hunger.warned.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("cannot accept for now; connections wait and existing ones live on: raise the limit of open files (LimitNOFILE, ulimit -n)",
		"listener", listener, "err", err)
}

// recovered is called when nobody waits to be accepted.
func (s *Server) recovered() {
	if s.hunger.since.Load() && s.hunger.since.CompareAndSwap(true, false) {
		s.log.Debug("accepting again")
	}
}
