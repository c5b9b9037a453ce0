// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Direction is a set of directions of a link.
type Direction uint8

// The directions. Both is AToB|BToA.
const (
	AToB Direction = 1 << iota
	BToA
	Both = AToB | BToA
)

// Config describes a new [Emulator].
type Config struct {
	// AToB and BToA are the conditions at the beginning.
	AToB, BToA Conditions
	// MTU of both devices in bytes; 0 is 1500.
	MTU int
	// Seed makes losses, jitter and reordering the same for the same sequence
	// of packets.
	Seed uint64
}

// Emulator carries packets between two devices. Its methods may be called from
// several goroutines at once.
type Emulator struct {
	devices    [2]*Device
	directions [2]*direction
	running    sync.WaitGroup
	closing    sync.Once
	closeErr   error

	mu         sync.Mutex // orders changes
	conditions [2]Conditions
}

// Start begins to carry packets between two devices, which from then on belong
// to the emulator; on an error they still are the caller's.
func Start(a, b *Device, cfg Config) (*Emulator, error) {
	if err := errors.Join(cfg.AToB.Check(), cfg.BToA.Check()); err != nil {
		return nil, err
	}
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	e := &Emulator{devices: [2]*Device{a, b}, conditions: [2]Conditions{cfg.AToB, cfg.BToA}}
	for i := range e.directions {
		alarm, err := newAlarm()
		if err != nil {
			if i == 1 {
				e.directions[0].close()
			}
			return nil, err
		}
		e.directions[i] = &direction{
			from:  e.devices[i].tun,
			to:    e.devices[1-i].tun,
			clock: clock, alarm: alarm, armed: never,
			line: newLine(cfg.Seed, uint64(i), headroom+cfg.MTU),
		}
		e.directions[i].line.set(e.conditions[i], 0)
	}
	for _, d := range e.directions {
		e.running.Go(d.receive)
		e.running.Go(d.deliver)
	}
	return e, nil
}

// Set changes the conditions of the given directions.
func (e *Emulator) Set(which Direction, c Conditions) error {
	return e.Change(which, func(old *Conditions) { *old = c })
}

// Change changes some of the conditions of the given directions: f gets those
// of each and alters them. Nothing changes when one of the results is
// impossible.
func (e *Emulator) Change(which Direction, f func(*Conditions)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := e.conditions
	for i := range changed {
		if which&(1<<i) == 0 {
			continue
		}
		f(&changed[i])
		if err := changed[i].Check(); err != nil {
			return err
		}
	}
	for i, c := range changed {
		if c != e.conditions[i] {
			e.directions[i].set(c)
		}
	}
	e.conditions = changed
	return nil
}

// Conditions are those of A to B and of B to A.
func (e *Emulator) Conditions() (aToB, bToA Conditions) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conditions[0], e.conditions[1]
}

// Stats reads the counters of A to B and of B to A.
func (e *Emulator) Stats() (aToB, bToA Stats) {
	return e.directions[0].read(), e.directions[1].read()
}

// Flush loses all packets that are under way.
func (e *Emulator) Flush() {
	for _, d := range e.directions {
		d.flush()
	}
}

// Close ends the emulation and removes both devices. It may be called more than
// once.
func (e *Emulator) Close() error {
	e.closing.Do(func() {
		var errs []error
		for _, d := range e.directions {
			errs = append(errs, d.close())
		}
		for _, d := range e.devices {
			errs = append(errs, d.Close())
		}
		e.running.Wait()
		if err := errors.Join(errs...); err != nil {
			e.closeErr = fmt.Errorf("close emulator: %w", err)
		}
	})
	return e.closeErr
}
