// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// controlDir holds a socket for each lab that takes changes.
const controlDir = "/run/tandem-lab/control"

const controlTimeout = 5 * time.Second

// Listen opens the socket for changes, for Serve.
func (n *Network) Listen() (net.Listener, error) {
	if err := os.MkdirAll(controlDir, 0o700); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	removeDeadSockets()
	ln, err := net.Listen("unix", filepath.Join(controlDir, n.ID()))
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln, nil
}

// Serve takes changes from [Send] until ctx ends, and closes the listener.
func (n *Network) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("control socket: %w", err)
		}
		answering.Go(func() { n.answer(c) })
	}
}

func (n *Network) answer(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlTimeout))
	line, err := bufio.NewReader(io.LimitReader(c, 1024)).ReadString('\n')
	if err == nil {
		err = n.Set(strings.TrimSpace(line))
	}
	if err != nil {
		fmt.Fprintln(c, err)
		return
	}
	fmt.Fprintln(c, "ok")
}

// Send makes a change in a lab that another process serves.
func Send(id, setting string) error {
	c, err := net.DialTimeout("unix", filepath.Join(controlDir, id), controlTimeout)
	if err != nil {
		return fmt.Errorf("lab %s takes no changes: %w", id, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlTimeout))
	fmt.Fprintln(c, setting)
	answer, err := io.ReadAll(c)
	if err != nil {
		return fmt.Errorf("lab %s: %w", id, err)
	}
	if text := strings.TrimSpace(string(answer)); text != "ok" {
		return errors.New(text)
	}
	return nil
}

// removeDeadSockets removes the sockets of labs that were killed.
func removeDeadSockets() {
	entries, err := os.ReadDir(controlDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(filepath.Dir(controlDir), e.Name())); errors.Is(err, os.ErrNotExist) {
			os.Remove(filepath.Join(controlDir, e.Name()))
		}
	}
}

// Clean removes what killed labs have left: see [lab.Clean]. With an ID it looks
// at that lab only.
func Clean(id string) ([]string, error) {
	ids, err := lab.Clean(strings.TrimPrefix(id, lab.IDPrefix))
	removeDeadSockets()
	return ids, err
}
