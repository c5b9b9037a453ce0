// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

// Addresses of the stage, on its loopback device.
var (
	relayAddr  = netip.MustParseAddrPort("192.0.2.1:7000")
	sourceAddr = netip.MustParseAddr("203.0.113.80")
)

// Two services of the source are relayed, each by a listener.
var listeners = map[load.Service]uint16{load.Answer: 7000, load.Flood: 7001}

const config = `log: {level: warn}
drain-timeout: 0s
admin: {socket: ""}
listeners:
  - {name: answer, type: forward, listen: ["%s"], allow-from: [0.0.0.0/0], forward: {target: "%s"}}
  - {name: flood, type: forward, listen: ["%s"], allow-from: [0.0.0.0/0], forward: {target: "%s"}}
`

// patience is how long anything may take that ought to be immediate: with ten
// thousand connections on two cores little is.
const patience = 20 * time.Second

// stage is a namespace with a source in it.
type stage struct {
	lab  *lab.Lab
	host *lab.Host
	env  *experiment.Env
	dir  string
}

func newStage(ctx context.Context, e *experiment.Env) (*stage, error) {
	l, err := lab.New("capacity")
	if err != nil {
		return nil, err
	}
	s := &stage{lab: l, env: e}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "capacity-"); err != nil {
		return err
	}
	if s.host, err = s.lab.Host("loopback"); err != nil {
		return err
	}
	if err := s.host.ManyConnections(); err != nil {
		return err
	}
	for _, addr := range []netip.Addr{relayAddr.Addr(), sourceAddr} {
		if err := s.host.AddAddress("lo", netip.PrefixFrom(addr, addr.BitLen())); err != nil {
			return err
		}
	}
	source, err := s.child(ctx, nil, load.SourceChild, sourceAddr.String()) // ends with the lab
	if err != nil {
		return err
	}
	_, err = source.line(ctx, patience)
	return err
}

func (s *stage) close() error {
	return errors.Join(s.lab.Close(), os.RemoveAll(s.dir))
}

// start starts a Tandem.
func (s *stage) start(ctx context.Context) (*apps.Tandem, error) {
	at := func(service load.Service) (listen, target netip.AddrPort) {
		return netip.AddrPortFrom(relayAddr.Addr(), listeners[service]), netip.AddrPortFrom(sourceAddr, service.Port(false))
	}
	answer, toAnswer := at(load.Answer)
	flood, toFlood := at(load.Flood)
	return apps.StartTandem(ctx, s.host, apps.TandemConfig{
		Command: []string{s.env.Tandem}, Dir: s.dir,
		Config: fmt.Sprintf(config, answer, toAnswer, flood, toFlood),
	})
}

// child is a process of this program.
type child struct {
	*lab.Process
	name     string
	out, log *apps.Log
	read     int // bytes of out that were taken
}

func (s *stage) child(ctx context.Context, in io.Reader, name string, args ...string) (*child, error) {
	program, args := s.env.Child(name, args...)
	c := &child{name: name, Process: s.host.Command(ctx, program, args...), out: new(apps.Log), log: new(apps.Log)}
	c.Stdin, c.Stdout, c.Stderr = in, c.out, c.log
	return c, c.Start()
}

// line waits for the next line that the process writes.
func (c *child) line(ctx context.Context, timeout time.Duration) (string, error) {
	var line string
	take := func() bool {
		text := c.out.String()[c.read:]
		end := strings.IndexByte(text, '\n')
		if end >= 0 {
			line, c.read = text[:end], c.read+end+1
		}
		return end >= 0
	}
	err := await.Until(ctx, timeout, 5*time.Millisecond, "an answer of "+c.name, func() (bool, error) {
		if take() {
			return true, nil
		}
		select {
		case <-c.Done():
			if take() { // written at the last moment
				return true, nil
			}
			return false, fmt.Errorf("ended: %w: %s", errors.Join(c.Wait(), io.ErrUnexpectedEOF), c.log)
		default:
			return false, nil
		}
	})
	return line, err
}

// result waits for a result.
func (c *child) result(ctx context.Context, timeout time.Duration) (r load.Result, err error) {
	line, err := c.line(ctx, timeout)
	if err == nil {
		err = json.Unmarshal([]byte(line), &r)
	}
	if err == nil && (r.Failed > 0 || r.Connections == 0 && r.Bytes == 0) {
		err = fmt.Errorf("%d connections have failed: %s", r.Failed, r.Error)
	}
	return r, err
}

// client starts a client with a job.
func (s *stage) client(ctx context.Context, in io.Reader, job load.Job) (*child, error) {
	job.MPTCP, job.Patience = true, patience
	job.Via = netip.AddrPortFrom(relayAddr.Addr(), listeners[job.Workload.Service()])
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	return s.child(ctx, in, load.ClientChild, string(text))
}

// do has a client do a job, and looks now and then meanwhile, at least before it
// and after it.
func (s *stage) do(ctx context.Context, job load.Job, look func() error) (load.Result, error) {
	if look == nil {
		look = func() error { return nil }
	}
	if err := look(); err != nil {
		return load.Result{}, err
	}
	c, err := s.client(ctx, nil, job)
	if err != nil {
		return load.Result{}, err
	}
	defer c.Stop()
	var looking errgroup.Group
	over := make(chan struct{})
	looking.Go(func() error {
		for ended := false; !ended; {
			select {
			case <-time.After(lookEvery):
			case <-over:
				ended = true
			}
			if err := look(); err != nil {
				return err
			}
		}
		return nil
	})
	r, err := c.result(ctx, job.WarmUp+job.Duration+3*patience)
	close(over)
	return r, errors.Join(err, looking.Wait())
}

// lookEvery is far more than a look takes.
const lookEvery = 100 * time.Millisecond
