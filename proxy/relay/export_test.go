// SPDX-License-Identifier: Apache-2.0

package relay

// Lent is how many pipes, and how many bytes of buffers, are with pairs.
func (p *Pool) Lent() (pipes, bytes int) { return p.made - len(p.pipes), p.held }
