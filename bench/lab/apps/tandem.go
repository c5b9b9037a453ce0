// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// TandemConfig says how to run tandem on a host.
type TandemConfig struct {
	// Command is the program with arguments that come before "run", such as
	// bin/tandem.
	Command []string
	// Env is added to the environment of the caller.
	Env []string
	// Config is the text of its configuration; empty runs the embedded one.
	Config string
	// Dir is a directory for the configuration file.
	Dir string
}

// Tandem is a running tandem.
type Tandem struct {
	*lab.Process
	// Banner is what it prints about itself, Log what it logs.
	Banner, Log *Log
	// File is its configuration file, to be changed before a reload.
	File string
}

// StartTandem starts tandem on a host and returns when it serves. It ends with
// ctx, with Stop, or with the lab.
func StartTandem(ctx context.Context, h *lab.Host, cfg TandemConfig) (*Tandem, error) {
	args := append([]string{}, cfg.Command...)
	args = append(args, "run")
	t := &Tandem{Banner: new(Log), Log: new(Log)}
	if cfg.Config != "" {
		t.File = filepath.Join(cfg.Dir, "tandem-"+h.Name()+".yaml")
		if err := t.Write(cfg.Config); err != nil {
			return nil, err
		}
		args = append(args, "--config", t.File)
	}
	t.Process = h.Command(ctx, args[0], args[1:]...)
	t.Process.Env = append(os.Environ(), cfg.Env...)
	t.Stdout, t.Stderr = t.Banner, t.Log
	if err := t.Start(); err != nil {
		return nil, err
	}
	if err := t.await(ctx, "Ready"); err != nil {
		t.Stop()
		return nil, fmt.Errorf("tandem on %q: %w:\n%s%s", h.Name(), err, t.Banner, t.Log)
	}
	return t, nil
}

// Write replaces the configuration file; SIGHUP makes tandem read it.
func (t *Tandem) Write(config string) error { return os.WriteFile(t.File, []byte(config), 0o644) }

// await waits until the banner has a line that begins with a word.
func (t *Tandem) await(ctx context.Context, word string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if strings.Contains("\n"+t.Banner.String(), "\n"+word) {
			return nil
		}
		select {
		case <-tick.C:
		case <-t.Done():
			return errors.New("ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
}
