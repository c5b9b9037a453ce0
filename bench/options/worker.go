// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
)

// worker is a child process that does something for a while each time it is told.
type worker struct {
	process *lab.Process
	in, out *os.File
	ask     *json.Encoder
	answers *json.Decoder
}

// startWorker starts a child on a host, and waits until it is ready.
func startWorker(ctx context.Context, h *lab.Host, e *experiment.Env, child string, args ...string) (*worker, error) {
	program, arguments := e.Child(child, args...)
	p := h.Command(ctx, program, arguments...)
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), in.Close())
	}
	p.Stdin, p.Stdout, p.Stderr = stdin, stdout, os.Stderr
	w := &worker{process: p, in: in, out: out, ask: json.NewEncoder(in), answers: json.NewDecoder(out)}
	err = p.Start()
	err = errors.Join(err, stdin.Close(), stdout.Close())
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	var ready string
	if err := w.answers.Decode(&ready); err != nil {
		return nil, fmt.Errorf("child %s %v: %w", child, args, errors.Join(err, w.stop()))
	}
	return w, nil
}

// call has the worker do something: for so long, or what else it takes.
func (w *worker) call(what, result any) error {
	if err := w.ask.Encode(what); err != nil {
		return err
	}
	return w.answers.Decode(result)
}

// stop has the worker end.
func (w *worker) stop() error {
	w.in.Close()
	err := w.process.Wait()
	return errors.Join(err, w.out.Close())
}
