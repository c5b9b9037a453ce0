// SPDX-License-Identifier: Apache-2.0

// Package lab builds small networks out of Linux network namespaces, for tests,
// demonstrations and benchmarks on one machine.
//
// A [Lab] holds hosts (one namespace each) and links (veth pairs) between them.
// Links can be shaped, cut and restored, and count the bytes that crossed them.
// Emulated links (package emulator) have delay, jitter, loss and reordering as
// well, which can be changed while traffic runs.
// Everything is made with netlink; only MPTCP endpoints use the ip command.
//
//	l, err := lab.New("example")
//	defer l.Close()
//	a, err := l.Host("a")
//	b, err := l.Host("b")
//	link, err := l.Link(a, b, "eth0", "eth0", aAddrs, bAddrs, lab.LinkSpec{Rate: 20e6})
//	err = a.Do(func() error { /* sockets made here belong to a */ })
//	p := b.Command(ctx, "nginx", "-c", conf)
//	err = p.Start()
//
// [NewHybridHome] and [NewTwoPath] are ready-made topologies with two access links.
//
// A lab needs root. Names carry a random part, so that labs never collide, and
// a lock file below /run/tandem-lab tells [Clean] which labs have lost their
// owner.
package lab
