// SPDX-License-Identifier: Apache-2.0

// Package subscribers knows whose connections are whose, and what each
// subscriber may do.
//
// A [Registry] is asked by front ends whether a password is right, and by the
// proxy whose a connection is: by the user that has shown itself, or by the
// prefix that the client's address is in. It knows those that the configuration
// lists, and asks a [Backend] for others, whose answers it keeps for a while.
//
// Whoever has a connection has an [Account]: connections and bytes are counted
// there, and held to the subscriber's [Policy]. An account is one session for
// accounting: it begins with the first connection and ends when there has been
// none for a while. Quotas are kept in a [Store], so that they outlive both the
// session and the process.
package subscribers
