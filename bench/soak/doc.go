// SPDX-License-Identifier: Apache-2.0

// Package soak has a test that loads a home gateway and an aggregator in every
// way at once, while everything around them fails and comes back, and counts what
// is lost, refused and leaked. "make soak" runs it for ten minutes.
package soak
