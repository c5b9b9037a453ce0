// SPDX-License-Identifier: Apache-2.0

// Package report collects the repetitions of a comparison of relays and makes
// tables of them: medians with their spread, ratios, and whether targets are
// met.
//
// A ratio is the median of the ratios within each round of repetitions, so that
// a machine that grows faster or slower in the course of a benchmark does not
// change it.
package report
