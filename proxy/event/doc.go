// SPDX-License-Identifier: Apache-2.0

// Package event runs non-blocking sockets on epoll loops, one goroutine each.
//
// A proxy holds thousands of connections of which few have something to do
// at any moment. A goroutine pair per connection would cost stacks, wake-ups
// and context switches for all of them, so everything here is driven by
// readiness instead: a Loop waits for events on all its sockets and calls the
// handler of each one that is ready. Handlers never block.
//
// Everything that belongs to a loop (sockets, timers, pools) is touched on
// that loop's goroutine only, which is why none of it has a lock. Other
// goroutines reach a loop through Post.
package event
