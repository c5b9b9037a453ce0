// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Typing is a user at a shell over SSH: each key is a packet, and echoed as
// one; now and then a line ends, and its command prints something. Latency is
// from a key to its echo, or to the end of the output.
type Typing struct {
	Seed uint64
	Keys int
	// Mean time between keys; the distribution is log-normal, as that of people
	// about is. 0 is 180 ms.
	Mean time.Duration
	// Patience with each echo; 0 is [Patience].
	Patience time.Duration
}

const (
	// keyPacket is an SSH packet with one character of payload under
	// chacha20-poly1305, in bytes.
	keyPacket = 36
	// spread is the standard deviation of the logarithm of times between keys.
	spread = 0.5
	// lineLength is how many keys a line has, about.
	lineLength = 15
	// command is what one takes at the server.
	command = 5 * time.Millisecond
)

// output is how much a command prints, in bytes.
var output = Range{200, 4000}

// String says what the load is.
func (w Typing) String() string {
	return fmt.Sprintf("%d keys over SSH, one every %v on average", w.Keys, w.mean())
}

func (w Typing) mean() time.Duration {
	if w.Mean == 0 {
		return 180 * time.Millisecond
	}
	return w.Mean
}

// plan draws the keys.
func (w Typing) plan() schedule {
	s := schedule{actions: make([]action, w.Keys), sessions: 1, patience: w.Patience, warm: true}
	random := rand.New(rand.NewPCG(w.Seed, 't'))
	at := time.Duration(0)
	for i := range s.actions {
		a := ask{kind: exchange, request: keyPacket, answer: keyPacket}
		if random.IntN(lineLength) == 0 {
			a.answer, a.pause = output.draw(random), command
		}
		s.actions[i] = action{at: at, ask: a}
		factor := math.Exp(spread*random.NormFloat64() - spread*spread/2) // whose mean is 1
		at += time.Duration(factor * float64(w.mean()))
	}
	return s
}

// Run runs the workload.
func (w Typing) Run(ctx context.Context, dial Dialer) (*Result, error) {
	s := w.plan()
	return s.result(ctx, dial, func(a *action) (at, took time.Duration) { return a.at, a.last - a.at })
}
