// SPDX-License-Identifier: Apache-2.0

// Package telemetry tells monitoring systems what a gateway does: metrics for
// Prometheus and OTLP, and traces of connections over OTLP.
//
// The gateway counts, each event loop for itself; metrics are asynchronous
// instruments that read those counters when somebody asks. Traces are built
// from the moments that a record has, after the connection has ended. Neither
// costs the relay of bytes anything.
//
// No attribute has values that a client could choose: they are names of the
// configuration, or reasons from fixed sets.
package telemetry
