// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
	"github.com/tandem-gateway/tandem/mptcp"
)

// Instance is a running peer.
type Instance struct {
	*lab.Process
	measure.Group
	// Log is what it writes.
	Log *apps.Log
}

// Start starts the peer on a host and returns once it listens. Errors wrap
// ErrMissing where something is not installed.
func (p *Peer) Start(ctx context.Context, h *lab.Host, s Setup) (*Instance, error) {
	c, err := p.command(s)
	if err != nil {
		return nil, err
	}
	if c, err = s.limited(c); err != nil {
		return nil, err
	}
	i := &Instance{Log: new(apps.Log)}
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	i.Process = h.Command(ctx, c.program, c.args...)
	i.Stdout, i.Stderr = i.Log, i.Log
	i.Dir = s.Dir
	i.Env = append(os.Environ(), c.env...)
	if c.inherit {
		l, err := listener(h, s.Listen)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		i.ExtraFiles = []*os.File{l}
	}
	if err := i.Process.Start(); err != nil {
		return nil, err
	}
	i.Group = measure.Group{PGID: i.Pid()}
	if err := apps.AwaitListener(ctx, h, i.Process, s.Listen); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", p.Name, err, i.Log), i.Stop())
	}
	return i, nil
}

// limited makes a command keep within the descriptors of the setup.
func (s Setup) limited(c command) (command, error) {
	if s.Descriptors == 0 {
		return c, nil
	}
	wrapper, err := find("prlimit", "util-linux")
	if err != nil {
		return c, err
	}
	c.args = append([]string{fmt.Sprintf("--nofile=%d:%[1]d", s.Descriptors), "--", c.program}, c.args...)
	c.program = wrapper
	return c, nil
}

// listener opens an MPTCP listener on a host for a program to inherit.
func listener(h *lab.Host, addr netip.AddrPort) (*os.File, error) {
	var l mptcp.Listener
	err := h.Do(func() error {
		var err error
		l, err = mptcp.Listen(addr, mptcp.ListenOptions{Mode: mptcp.ModeRequire, Socket: mptcp.SocketOptions{NoDelay: true}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(l.FD), addr.String()), nil
}
