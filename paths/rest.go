// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// restFor is how long a new subflow is a backup, which carries nothing while
// others can. Data that arrives on it while the kernel of the peer has not yet
// linked it to its connection, which waits for a system call of the peer's program
// to end, is put at the wrong place of the stream (net/mptcp/protocol.c,
// mptcp_subflow_joined sets map_seq after the first mapping was taken; seen with
// Linux 6.18).
const restFor = 50 * time.Millisecond

// carriedWithout reports whether another subflow than one can carry the data.
func (c *conn) carriedWithout(i int) bool {
	for j, s := range c.Subflows {
		if j != i && s.State == Established && !s.Backup && !s.Lost {
			return true
		}
	}
	return false
}
