// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// ErrNotEmulated reports a change that only a link with [LinkSpec].Emulate can
// make.
var ErrNotEmulated = errors.New("link is not emulated")

// gsoSegments is the most segments of a packet that a device may be given.
const gsoSegments = 120

func (s LinkSpec) emulated() bool {
	return s.Emulate || s.Delay != 0 || s.Jitter != 0 || s.Loss != (emulator.Loss{}) ||
		s.Reorder != 0 || s.QueuePackets != 0 || s.Back != nil
}

// conditions are those of both directions.
func (s LinkSpec) conditions() (aToB, bToA emulator.Conditions) {
	aToB = emulator.Conditions{
		Rate:    s.Rate,
		Queue:   emulator.Queue{Bytes: s.Queue, Packets: s.QueuePackets},
		Delay:   s.Delay,
		Jitter:  s.Jitter,
		Loss:    s.Loss,
		Reorder: s.Reorder,
	}
	if s.Back != nil {
		return aToB, *s.Back
	}
	return aToB, aToB
}

func (k *Link) createEmulated() (err error) {
	var devices []*emulator.Device
	defer func() {
		if err != nil {
			for _, d := range devices {
				d.Close()
			}
		}
	}()
	for _, e := range []End{k.A, k.B} {
		d, err := e.openEmulated(k.spec.MTU)
		if err != nil {
			return err
		}
		devices = append(devices, d)
	}
	cfg := emulator.Config{MTU: k.spec.MTU, Seed: k.spec.Seed}
	cfg.AToB, cfg.BToA = k.spec.conditions()
	l := k.A.Host.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if k.emulator, err = emulator.Start(devices[0], devices[1], cfg); err != nil {
		return err
	}
	l.emulators = append(l.emulators, k.emulator)
	return nil
}

// openEmulated makes the device of an end of an emulated link.
func (e End) openEmulated(mtu int) (*emulator.Device, error) {
	var d *emulator.Device
	err := e.Host.Do(func() (err error) {
		d, err = emulator.Open(e.Dev)
		return err
	})
	if err != nil {
		return nil, err
	}
	var link netlink.Link
	if link, err = e.Host.nl.LinkByName(e.Dev); err == nil {
		err = e.Host.nl.LinkSetGSOMaxSegs(link, gsoSegments)
	}
	if err == nil && mtu != 0 {
		err = e.Host.nl.LinkSetMTU(link, mtu)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("set up %s: %w", e.Dev, err)
	}
	return d, nil
}

// Change changes some conditions of the given directions of an emulated link
// while traffic runs; see [emulator.Emulator.Change].
func (k *Link) Change(which emulator.Direction, f func(*emulator.Conditions)) error {
	if k.emulator == nil {
		return fmt.Errorf("change %s of %q: %w", k.A.Dev, k.A.Host.name, ErrNotEmulated)
	}
	if err := k.emulator.Change(which, f); err != nil {
		return fmt.Errorf("change %s of %q: %w", k.A.Dev, k.A.Host.name, err)
	}
	return nil
}

// SetDelay changes the one-way delay of both directions of an emulated link.
func (k *Link) SetDelay(d time.Duration) error {
	return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Delay = d })
}

// SetJitter changes the jitter of both directions of an emulated link.
func (k *Link) SetJitter(d time.Duration) error {
	return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Jitter = d })
}

// SetLoss changes the loss of both directions of an emulated link.
// RandomLoss(1) is a link that is dead without its hosts noticing, as a radio
// link out of reach; [Link.Down] is one that they see go down.
func (k *Link) SetLoss(l emulator.Loss) error {
	return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Loss = l })
}

// SetReorder changes the share of reordered packets of both directions of an
// emulated link.
func (k *Link) SetReorder(p float64) error {
	return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Reorder = p })
}

// SetQueue changes the limit of the queue of both directions of an emulated
// link. What waits already stays.
func (k *Link) SetQueue(q emulator.Queue) error {
	return k.Change(emulator.Both, func(c *emulator.Conditions) { c.Queue = q })
}

// SetUp is Up or Down.
func (k *Link) SetUp(up bool) error {
	if up {
		return k.Up()
	}
	return k.Down()
}

// Emulated reports whether the link is emulated, and not a veth pair.
func (k *Link) Emulated() bool { return k.emulator != nil }

// Conditions are those of both directions of an emulated link.
func (k *Link) Conditions() (aToB, bToA emulator.Conditions) {
	if k.emulator == nil {
		return k.spec.conditions()
	}
	return k.emulator.Conditions()
}

// Stats reads the counters of both directions of an emulated link.
func (k *Link) Stats() (aToB, bToA emulator.Stats, err error) {
	if k.emulator == nil {
		return aToB, bToA, fmt.Errorf("counters of %s of %q: %w", k.A.Dev, k.A.Host.name, ErrNotEmulated)
	}
	aToB, bToA = k.emulator.Stats()
	return aToB, bToA, nil
}
