// SPDX-License-Identifier: Apache-2.0

// Package emulator carries packets between two network namespaces as a line
// with a rate, a queue, delay, jitter, loss and reordering would, on kernels
// that have no netem as well.
//
// Each end is a TUN device. A packet that a host sends passes through a
// drop-tail queue, is serialised at the rate of the line, may be lost, and is
// delivered after the delay. Packets that the kernel hands over as one large
// segment are split first, so that everything counts single packets as a wire
// would carry them.
//
//	near, err := emulator.Open("eth0") // on a thread in one namespace
//	far, err := emulator.Open("eth0")  // on a thread in the other
//	e, err := emulator.Start(near, far, emulator.Config{...})
//	err = e.Set(emulator.AToB, emulator.Conditions{Rate: 20e6, Delay: 20 * time.Millisecond})
//	defer e.Close()
package emulator
