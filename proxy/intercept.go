// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"time"
)

// Intercept is the front end of transparent interception: the request is the
// destination that the client connected to.
type Intercept struct {
	// Destination finds the original destination of an accepted connection.
	Destination func(fd int) (netip.AddrPort, error)
}

// Greet implements FrontEnd.
func (f *Intercept) Greet(c *Client, _ time.Time) Handshake {
	target, err := f.Destination(c.FD)
	return &intercepted{request: Request{Target: target}, err: err}
}

type intercepted struct {
	request Request
	err     error
}

// Next implements Handshake.
func (h *intercepted) Next([]byte) (Step, error) {
	if h.err != nil {
		return Step{}, h.err
	}
	return Step{Request: &h.request}, nil
}

// Reply implements Handshake: there is nobody to talk to, a failure is a
// reset.
func (h *intercepted) Reply(dst []byte, _ Outcome) []byte { return dst }
