// SPDX-License-Identifier: Apache-2.0

// Package paths decides which subflows the MPTCP connections of this process
// have.
//
// A [Manager] is a policy: a small type that is told what happens to a
// connection and answers with actions, such as opening a subflow. It is pure:
// it holds its parameters and nothing of any connection. The managers of this
// package are in files of their own, and [Named] makes them by name.
//
// The [Engine] keeps the state of each connection, tells its manager, and
// carries out what that answers. Several managers work in one process at a
// time, one for each connection. Managers say what should exist now; when an
// action is possible, how often it is tried again and how many connections may
// do so at once is the engine's matter.
package paths
