// SPDX-License-Identifier: Apache-2.0

package emulator

// Stats counts what happened to the packets of one direction.
type Stats struct {
	// Packets and Bytes were delivered; bytes are those of whole Ethernet
	// frames.
	Packets, Bytes uint64
	// Reordered packets have overtaken others.
	Reordered uint64
	// DroppedQueue packets found the queue full, DroppedLoss were lost on the
	// line, DroppedDown were under way to an end that was down, and
	// DroppedInvalid could not be read from the device.
	DroppedQueue, DroppedLoss, DroppedDown, DroppedInvalid uint64
	// QueuePackets and QueueBytes wait for the transmitter now, and
	// FlyingPackets are being delayed.
	QueuePackets, QueueBytes, FlyingPackets int
}

// Dropped is the number of packets that were not delivered.
func (s Stats) Dropped() uint64 {
	return s.DroppedQueue + s.DroppedLoss + s.DroppedDown + s.DroppedInvalid
}
