// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// tellAfter is when the peer is told whether a subflow is a backup, since that was
// decided. MP_PRIO (RFC 8684 section 3.3.8) is not acknowledged, so that there is no
// way to know that one has arrived: a peer that has heard none of them would leave
// the subflow alone as long as it lives. A link that has just come up may not carry
// anything for a while.
var tellAfter = [...]time.Duration{0, 250 * time.Millisecond, time.Second, 4 * time.Second, 15 * time.Second, time.Minute}

// priority is what the peer of a subflow is told of it.
type priority struct {
	backup bool
	since  time.Time // when that was decided, or is to count from
	times  int       // that it is still to be told
}

// prioritise has the peer be told of a subflow from some time on.
func (s *Subflow) prioritise(backup bool, from time.Time) {
	s.priority = priority{backup: backup, since: from, times: len(tellAfter)}
}

// tellAt is when the peer is told next; zero is never.
func (s *Subflow) tellAt() time.Time {
	if s.priority.times == 0 {
		return time.Time{}
	}
	return s.priority.since.Add(tellAfter[len(tellAfter)-s.priority.times])
}

// tellPriority tells the peer of a subflow once.
func (e *Engine) tellPriority(c *conn, s *Subflow) {
	s.resting = false
	s.priority.times--
	if err := e.client.SetBackup(c.Token, s.local(), s.Remote, s.priority.backup); err != nil {
		e.refused(err) // it has just gone
	}
}
