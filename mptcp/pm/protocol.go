// SPDX-License-Identifier: Apache-2.0

package pm

// Names and numbers of linux/mptcp_pm.h.
const (
	familyName  = "mptcp_pm"
	eventsGroup = "mptcp_pm_events"
)

// Commands: MPTCP_PM_CMD_*.
const (
	cmdAddAddr uint8 = iota + 1
	cmdDelAddr
	cmdGetAddr
	cmdFlushAddrs
	cmdSetLimits
	cmdGetLimits
	cmdSetFlags
	cmdAnnounce
	cmdRemove
	cmdSubflowCreate
	cmdSubflowDestroy
)

// Attributes of commands: MPTCP_PM_ATTR_*.
const (
	attrAddr        = iota + 1 // nested, see addr*
	attrRcvAddAddrs            // u32
	attrSubflows               // u32
	attrToken                  // u32
	attrLocID                  // u8
	attrAddrRemote             // nested, see addr*
)

// Attributes of an address: MPTCP_PM_ADDR_ATTR_*.
const (
	addrFamily  = iota + 1 // u16
	addrID                 // u8
	addrAddr4              // 4 bytes
	addrAddr6              // 16 bytes
	addrPort               // u16 in host order, whatever the specification says
	addrFlags              // u32
	addrIfIndex            // s32
)

// Events: MPTCP_EVENT_*.
const (
	eventCreated         uint8 = 1
	eventEstablished     uint8 = 2
	eventClosed          uint8 = 3
	eventAnnounced       uint8 = 6
	eventRemoved         uint8 = 7
	eventSubEstablished  uint8 = 10
	eventSubClosed       uint8 = 11
	eventSubPriority     uint8 = 13
	eventListenerCreated uint8 = 15
	eventListenerClosed  uint8 = 16
)

// Attributes of events: MPTCP_ATTR_*. Their ports are in network order.
const (
	eventToken       = iota + 1 // u32
	eventFamily                 // u16
	eventLocID                  // u8
	eventRemID                  // u8
	eventSAddr4                 // 4 bytes
	eventSAddr6                 // 16 bytes
	eventDAddr4                 // 4 bytes
	eventDAddr6                 // 16 bytes
	eventSPort                  // be16
	eventDPort                  // be16
	eventBackup                 // u8
	eventError                  // u8
	eventFlags                  // u16
	eventTimeout                // u32
	eventIfIndex                // s32
	eventResetReason            // u32
	eventResetFlags             // u32
	eventServerSide             // u8
)

// Flags of events: MPTCP_PM_EV_FLAG_*.
const (
	eventFlagDenyJoinID0 = 1 << 0
	eventFlagServerSide  = 1 << 1
)
