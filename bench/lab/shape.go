// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// minRate and maxRate bound a shaped link, in bit/s: below, a full frame
	// takes longer than a second; above, HTB's 32-bit byte rate overflows.
	minRate = 12_000
	maxRate = 32_000_000_000
	// shapeBurst is HTB's bucket in bytes: ten frames, so that the timer of a
	// virtual machine may be late without loss of rate.
	shapeBurst = 16 << 10
	minQueue   = 30_000
)

var (
	shapeRoot  = netlink.MakeHandle(1, 0)
	shapeClass = netlink.MakeHandle(1, 1)
)

// shape limits what the end sends: an HTB class holds the rate, and a bfifo in
// it is the queue, limited in bytes as the buffers of access lines are.
func (e End) shape(spec LinkSpec, already bool) error {
	link, err := e.Host.nl.LinkByName(e.Dev)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	htb := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: shapeRoot, Parent: netlink.HANDLE_ROOT})
	htb.Defcls = 1
	if spec.Rate == 0 {
		if already {
			return e.Host.nl.QdiscDel(htb)
		}
		return nil
	}
	if spec.Rate < minRate || spec.Rate > maxRate {
		return fmt.Errorf("rate %d bit/s is not within %d and %d", spec.Rate, uint64(minRate), uint64(maxRate))
	}
	if !already {
		if err := e.perPacket(); err != nil {
			return err
		}
		if err := e.Host.nl.QdiscAdd(htb); err != nil {
			return fmt.Errorf("add htb: %w", err)
		}
	}
	class := netlink.NewHtbClass(
		netlink.ClassAttrs{LinkIndex: index, Handle: shapeClass, Parent: shapeRoot},
		netlink.HtbClassAttrs{Rate: spec.Rate, Buffer: shapeBurst, Cbuffer: shapeBurst, Quantum: 1514},
	)
	if err := e.Host.nl.ClassReplace(class); err != nil {
		return fmt.Errorf("set htb class: %w", err)
	}
	limit := spec.Queue
	if limit == 0 {
		limit = uint32(max(minQueue, spec.Rate*60/1000/8))
	}
	if err := e.setFIFO(index, limit); err != nil {
		return fmt.Errorf("set bfifo: %w", err)
	}
	return nil
}

// setFIFO puts a bfifo with a limit in bytes below the class, or changes its
// limit. The netlink library knows no fifo, so that the message is made here:
// struct tc_fifo_qopt of linux/pkt_sched.h is one u32.
func (e End) setFIFO(index int, limit uint32) error {
	return e.Host.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		req.AddData(&nl.TcMsg{
			Family:  nl.FAMILY_ALL,
			Ifindex: int32(index),
			Handle:  netlink.MakeHandle(2, 0),
			Parent:  shapeClass,
		})
		req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bfifo")))
		req.AddData(nl.NewRtAttr(nl.TCA_OPTIONS, binary.NativeEndian.AppendUint32(nil, limit)))
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// perPacket makes TCP hand single segments to the device; see
// [LinkSpec].PerPacket.
func (e End) perPacket() error {
	link, err := e.Host.nl.LinkByName(e.Dev)
	if err != nil {
		return err
	}
	if err := e.Host.nl.LinkSetGSOMaxSegs(link, 1); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("limit gso segments: %w", err)
	}
	return e.Host.Do(func() error { return offloadsOff(e.Dev) })
}
