// SPDX-License-Identifier: Apache-2.0

// Package capacity is a model of how many subscribers a core, a machine and a
// region of machines can serve: arithmetic on what one connection, one gigabyte
// and one idle tunnel cost ([Costs], which are measured) and on what subscribers
// do in the busiest hour ([Assumptions], which are not). docs/capacity.md derives
// it.
package capacity
