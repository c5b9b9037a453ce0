// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

// Addresses of the stage, on the loopback device. They are from documentation
// prefixes, because proxies refuse private and loopback destinations.
var (
	relayAddr  = netip.MustParseAddr("192.0.2.1")
	sourceAddr = netip.MustParseAddr("203.0.113.80")
)

// firstRelayPort is the port of the first relay. It and all other ports that
// are listened on lie below those that connections get.
const firstRelayPort = 7000

// sourcePort is where the source offers a service.
func sourcePort(service load.Service, mptcp bool) netip.AddrPort {
	return netip.AddrPortFrom(sourceAddr, service.Port(mptcp))
}

// childGrace is how much longer than its job a client may take.
const childGrace = 20 * time.Second

// stage is where everything runs: a namespace with a source in it.
type stage struct {
	e    *experiment.Env
	lab  *lab.Lab
	host *lab.Host
}

// newStage makes the namespace and starts the source.
func newStage(ctx context.Context, e *experiment.Env) (*stage, error) {
	l, err := lab.New("relay")
	if err != nil {
		return nil, err
	}
	s := &stage{e: e, lab: l}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context) error {
	var err error
	if s.host, err = s.lab.Host("loopback"); err != nil {
		return err
	}
	if err := s.host.ManyConnections(); err != nil {
		return err
	}
	for _, addr := range []netip.Addr{relayAddr, sourceAddr} {
		if err := s.host.AddAddress("lo", netip.PrefixFrom(addr, addr.BitLen())); err != nil {
			return err
		}
	}
	child, err := s.child(ctx, load.SourceChild, sourceAddr.String()) // ends with the lab
	if err != nil {
		return err
	}
	if _, err := child.out.ReadString('\n'); err != nil {
		return fmt.Errorf("source: %w", child.failed(err))
	}
	return nil
}

func (s *stage) close() error { return s.lab.Close() }

// child is a process of this program with pipes to it.
type child struct {
	*lab.Process
	in  io.Closer
	ask io.Writer
	out *bufio.Reader
	log *apps.Log

	files []*os.File
}

// child starts a process of this program and connects its standard streams.
func (s *stage) child(ctx context.Context, name string, args ...string) (*child, error) {
	program, arguments := s.e.Child(name, args...)
	p := s.host.Command(ctx, program, arguments...)
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, err
	}
	c := &child{Process: p, in: in, ask: in, out: bufio.NewReader(out), log: new(apps.Log), files: []*os.File{in, out}}
	p.Stdin, p.Stdout, p.Stderr = childIn, childOut, c.log
	err = p.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// read reads a result.
func (c *child) read() (load.Result, error) {
	var r load.Result
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return r, c.failed(err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, c.failed(err)
	}
	return r, nil
}

// failed ends the process and adds what it has written to an error.
func (c *child) failed(err error) error {
	c.close()
	if waitErr := c.Wait(); waitErr != nil {
		err = waitErr
	}
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(c.log.String()))
}

// close closes the pipes, which ends a client that waits for more.
func (c *child) close() {
	for _, f := range c.files {
		f.Close()
	}
}

// start starts a client.
func (s *stage) start(ctx context.Context, job load.Job) (*child, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	return s.child(ctx, load.ClientChild, string(text))
}

// do has a client do a job.
func (s *stage) do(ctx context.Context, job load.Job) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, job.WarmUp+job.Duration+job.Patience+childGrace)
	defer cancel()
	c, err := s.start(ctx, job)
	if err != nil {
		return load.Result{}, err
	}
	defer c.close()
	r, err := c.read()
	if err != nil {
		return r, err
	}
	if err := c.Wait(); err != nil {
		return r, c.failed(err)
	}
	return r, nil
}
