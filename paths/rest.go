// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// restFor is how long a new subflow is a backup, which carries nothing while
// others can. Data that arrives on it while the kernel of the peer has not yet
// linked it to its connection, which waits for a system call of the peer's program
// to end, is put at the wrong place of the stream (net/mptcp/protocol.c,
// mptcp_subflow_joined sets map_seq after the first mapping was taken; seen with
// Linux 6.18). That it carries data now is told three times, because MP_PRIO
// (RFC 8684 section 3.3.8) is not acknowledged.
var restFor = [...]time.Duration{50 * time.Millisecond, 250 * time.Millisecond, time.Second}

// carriedWithout reports whether another subflow than one can carry the data.
func (c *conn) carriedWithout(i int) bool {
	for j, s := range c.Subflows {
		if j != i && s.State == Established && !s.Backup && !s.Lost {
			return true
		}
	}
	return false
}

// rouseAt is when the end of a subflow's rest is told next; zero is never.
func (s *Subflow) rouseAt() time.Time {
	if s.resting == 0 {
		return time.Time{}
	}
	return s.Since.Add(restFor[s.resting-1])
}

// rouse tells that a subflow carries data.
func (e *Engine) rouse(c *conn, s *Subflow) {
	if s.resting++; s.resting > len(restFor) {
		s.resting = 0
	}
	if err := e.client.SetBackup(c.Token, s.local(), s.Remote, false); err != nil {
		e.refused(err) // it has just gone
	}
}
