// SPDX-License-Identifier: Apache-2.0

package paths

// Default takes the subflows that the peer opens, and opens none.
type Default struct{ Base }
