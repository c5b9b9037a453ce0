// SPDX-License-Identifier: Apache-2.0

package proxy

const starvedChild = "TANDEM_TEST_STARVED"

func runStarvedChild() int { return 0 }
