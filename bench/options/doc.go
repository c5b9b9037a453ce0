// SPDX-License-Identifier: Apache-2.0

// Package options has the experiments about the options of connections: what
// comes of a rate limit, a delay threshold, a congestion control, an initial
// window or a scheduler that one end asks the other for, and what asking costs.
// They repeat those of the thesis that proposed such options for Multipath TCP
// (V.-H. Tran, UCLouvain).
package options
