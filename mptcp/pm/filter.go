// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// Only has the kernel leave out events of other kinds than those given, from
// now on, so that nobody is woken for them. The values do not matter. Gap is
// told in any case.
func (e *Events) Only(kinds ...Event) error {
	const (
		commandAt = 16 // in a message, after its struct nlmsghdr
		whole     = 1 << 31
	)
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: commandAt, Size: 1}}
	for _, k := range kinds {
		if number := kindOf(k); number != 0 {
			program = append(program,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(number), SkipTrue: 1},
				bpf.RetConstant{Val: whole})
		}
	}
	filter, err := bpf.Assemble(append(program, bpf.RetConstant{}))
	if err == nil {
		err = e.conn.SetBPF(filter)
	}
	if err != nil {
		return fmt.Errorf("filter events: %w", err)
	}
	return nil
}

// kindOf is the number of an event on the wire; 0 for Gap.
func kindOf(e Event) uint8 {
	switch e.(type) {
	case Created:
		return eventCreated
	case Established:
		return eventEstablished
	case Closed:
		return eventClosed
	case Announced:
		return eventAnnounced
	case Removed:
		return eventRemoved
	case SubflowEstablished:
		return eventSubEstablished
	case SubflowClosed:
		return eventSubClosed
	case SubflowPriority:
		return eventSubPriority
	case ListenerCreated:
		return eventListenerCreated
	case ListenerClosed:
		return eventListenerClosed
	}
	return 0
}
