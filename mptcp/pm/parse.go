// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message holds the attributes of any event.
type message struct {
	token        uint32
	locID, remID uint8
	saddr, daddr netip.Addr
	sport, dport uint16
	backup       bool
	err          unix.Errno
	flags        uint16
	ifIndex      int
	reset        *Reset
	serverSide   bool
}

func parseMessage(b []byte) (message, error) {
	var m message
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return m, err
	}
	var reset Reset
	for ad.Next() {
		switch ad.Type() {
		case eventToken:
			m.token = ad.Uint32()
		case eventLocID:
			m.locID = ad.Uint8()
		case eventRemID:
			m.remID = ad.Uint8()
		case eventSAddr4, eventSAddr6:
			ad.Do(func(b []byte) (err error) {
				m.saddr, err = address(b)
				return err
			})
		case eventDAddr4, eventDAddr6:
			ad.Do(func(b []byte) (err error) {
				m.daddr, err = address(b)
				return err
			})
		case eventSPort:
			m.sport = networkOrder(ad.Uint16())
		case eventDPort:
			m.dport = networkOrder(ad.Uint16())
		case eventBackup:
			m.backup = ad.Uint8() != 0
		case eventError:
			m.err = unix.Errno(ad.Uint8())
		case eventFlags:
			m.flags = ad.Uint16()
		case eventIfIndex:
			m.ifIndex = int(ad.Int32())
		case eventResetReason:
			m.reset = &reset
			reset.Reason = ResetReason(ad.Uint32())
		case eventResetFlags:
			reset.Transient = ad.Uint32()&1 != 0
		case eventServerSide:
			m.serverSide = ad.Uint8() != 0
		}
	}
	return m, ad.Err()
}

// networkOrder reads as big-endian what was read as native.
func networkOrder(v uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))
}

// parseEvent reads an event; nil is one that this package does not know.
func parseEvent(kind uint8, b []byte) (Event, error) {
	m, err := parseMessage(b)
	if err != nil {
		return nil, err
	}
	switch kind {
	case eventCreated:
		return Created{m.connection()}, nil
	case eventEstablished:
		return Established{m.connection()}, nil
	case eventClosed:
		return Closed{m.token}, nil
	case eventAnnounced:
		return Announced{m.token, m.remID, netip.AddrPortFrom(m.daddr, m.dport)}, nil
	case eventRemoved:
		return Removed{m.token, m.remID}, nil
	case eventSubEstablished:
		return SubflowEstablished{m.path()}, nil
	case eventSubClosed:
		return SubflowClosed{m.path(), m.err, m.reset}, nil
	case eventSubPriority:
		return SubflowPriority{m.path()}, nil
	case eventListenerCreated:
		return ListenerCreated{netip.AddrPortFrom(m.saddr, m.sport)}, nil
	case eventListenerClosed:
		return ListenerClosed{netip.AddrPortFrom(m.saddr, m.sport)}, nil
	}
	return nil, nil
}

func (m *message) connection() Connection {
	return Connection{
		Token:       m.token,
		Local:       netip.AddrPortFrom(m.saddr, m.sport),
		Remote:      netip.AddrPortFrom(m.daddr, m.dport),
		ServerSide:  m.serverSide || m.flags&eventFlagServerSide != 0,
		DenyJoinID0: m.flags&eventFlagDenyJoinID0 != 0,
	}
}

func (m *message) path() Path {
	return Path{
		Token:    m.token,
		LocalID:  m.locID,
		RemoteID: m.remID,
		Local:    netip.AddrPortFrom(m.saddr, m.sport),
		Remote:   netip.AddrPortFrom(m.daddr, m.dport),
		Backup:   m.backup,
		IfIndex:  m.ifIndex,
	}
}
