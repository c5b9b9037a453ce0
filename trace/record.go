// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Millis is a duration that is milliseconds in JSON.
type Millis time.Duration

// MarshalJSON writes milliseconds, to the microsecond.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(float64(m)/1e3) / 1e3)
}

// UnmarshalJSON reads milliseconds.
func (m *Millis) UnmarshalJSON(text []byte) error {
	var v float64
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	*m = Millis(v * float64(time.Millisecond))
	return nil
}

// Token is the token of a connection; 0 if the capture does not show the key.
type Token uint32

// MarshalText writes it as ss(8) and ip-mptcp(8) do: hexadecimal.
func (t Token) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%08x", uint32(t)), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Token) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%x", (*uint32)(t))
	return err
}

// Outcome is what became of a connection whose first SYN asked for MPTCP.
type Outcome string

// The outcomes of connections.
const (
	Multipath  Outcome = "mptcp"
	FellBack   Outcome = "fallback"   // to TCP
	Refused    Outcome = "refused"    // the SYN was answered with a RST
	Unanswered Outcome = "unanswered" // the SYN was not answered
	Aborted    Outcome = "aborted"    // no ACK came after the SYN-ACK
	Incomplete Outcome = "incomplete" // the capture lacks the SYN-ACK
)

// Reason is why a connection fell back to TCP.
type Reason string

// The reasons (RFC 8684, section 3.7).
const (
	NoCapableSYNACK Reason = "no MP_CAPABLE in SYN-ACK"
	PlainSYN        Reason = "SYN sent again without MP_CAPABLE"
	NoCapableACK    Reason = "no MP_CAPABLE in ACK"
	NoSignal        Reason = "data without DSS"
	SignalCeased    Reason = "DSS no longer sent"
	InfiniteMapping Reason = "infinite mapping"
	ChecksumFailed  Reason = "wrong checksum (MP_FAIL)"
)

// Ending is how a connection ended.
type Ending string

// The endings of connections.
const (
	DataFIN   Ending = "data-fin"   // both sides ended their stream
	FastClose Ending = "fastclose"  // MP_FASTCLOSE
	TCPFIN    Ending = "fin"        // all subflows were closed
	TCPReset  Ending = "reset"      // all subflows were, the last one reset
	Idle      Ending = "idle"       // nothing was sent any more
	Replaced  Ending = "replaced"   // the client used its port again
	Evicted   Ending = "evicted"    // there were too many to follow
	StillOpen Ending = "still-open" // when the capture ended
)

// Connection is what the capture shows of a connection whose first SYN asked for
// MPTCP.
type Connection struct {
	// Number counts first SYNs, from 1.
	Number   uint64    `json:"number"`
	Start    time.Time `json:"start"`
	Duration Millis    `json:"duration_ms"` // from the first to the last segment
	Outcome  Outcome   `json:"outcome"`
	Fallback Reason    `json:"fallback,omitempty"`
	Ending   Ending    `json:"ending"`
	// Version of MPTCP that both speak, or else that the client asked for.
	Version uint8          `json:"version"`
	Client  netip.AddrPort `json:"client"` // of the first subflow
	Server  netip.AddrPort `json:"server"`
	// Tokens are those with which subflows name the connection at each side.
	ClientToken Token `json:"client_token,omitzero"`
	ServerToken Token `json:"server_token,omitzero"`
	Checksum    bool  `json:"checksum,omitempty"` // of data
	FastOpen    bool  `json:"fast_open,omitempty"`
	Up          Data  `json:"up"`
	Down        Data  `json:"down"`
	// Subflows in the order of their SYNs; the first is that of MP_CAPABLE.
	Subflows []Subflow `json:"subflows"`
	// Left is the number of further subflows, of which there were too many.
	Left int `json:"subflows_left_out,omitempty"`
	// Announced are addresses that ADD_ADDR told of, Removed IDs that REMOVE_ADDR
	// took back, without repetitions.
	Announced []Announcement `json:"announced,omitempty"`
	Removed   []Removal      `json:"removed,omitempty"`
	// Fails are the segments with MP_FAIL.
	Fails int `json:"mp_fail,omitempty"`
}

// Data is one direction of a connection.
type Data struct {
	// Bytes are those of the stream that the capture shows, each counted once.
	Bytes uint64 `json:"bytes"`
	// Missing are bytes before the last one, or the DATA_FIN, that it does not
	// show.
	Missing uint64 `json:"missing,omitempty"`
	// Retransmitted are bytes that a subflow carried again; Reinjected those that
	// were mapped again, on the same or on another subflow.
	Retransmitted uint64 `json:"retransmitted"`
	Reinjected    uint64 `json:"reinjected"`
	// Unmapped are bytes of subflows of which no mapping says where they belong.
	Unmapped uint64 `json:"unmapped,omitempty"`
	// Ended tells that DATA_FIN was sent.
	Ended bool `json:"data_fin"`
	// RTT is the time from data to its DATA_ACK.
	RTT RTT `json:"data_rtt,omitzero"`
}

// RTT are round-trip times between the place of the capture and the receiver.
type RTT struct {
	Samples uint64 `json:"samples"`
	Min     Millis `json:"min_ms"`
	Median  Millis `json:"median_ms"` // of a random choice if there are many
}

// Opening is what became of the SYN of a subflow.
type Opening string

// What becomes of SYNs.
const (
	Established  Opening = "established"
	NotAnswered  Opening = "unanswered"
	NotAccepted  Opening = "refused"    // with a RST
	Stripped     Opening = "no MP_JOIN" // in the SYN-ACK
	NotConfirmed Opening = "no ACK"     // after the SYN-ACK
	NotInCapture Opening = "incomplete" // the capture lacks the SYN-ACK
	Unauthentic  Opening = "wrong code" // in the SYN-ACK: of another connection
)

// Subflow is one TCP connection of an MPTCP connection.
type Subflow struct {
	// Client and Server are its addresses at the two sides of the connection.
	Client   netip.AddrPort `json:"client"`
	Server   netip.AddrPort `json:"server"`
	OpenedBy string         `json:"opened_by"`
	Opening  Opening        `json:"opening"`
	// Join is the time from the first SYN of the connection to that of the
	// subflow; zero for the first one.
	Join     Millis `json:"join_delay_ms,omitzero"`
	Duration Millis `json:"duration_ms"`
	SYNs     int    `json:"syns"`
	// Handshake is the time from the SYN to the ACK after the SYN-ACK, which is a
	// round trip of the whole path wherever the capture was taken. Zero if one of
	// them was sent more than once.
	Handshake Millis `json:"handshake_rtt_ms,omitzero"`
	// ClientID and ServerID name the addresses (MP_JOIN).
	ClientID uint8 `json:"client_address_id"`
	ServerID uint8 `json:"server_address_id"`
	// Backup tells that a side asked for that when the subflow was opened;
	// BackupLater what MP_PRIO said last, Priorities how many there were.
	Backup      bool  `json:"backup,omitempty"`
	BackupLater *bool `json:"backup_later,omitempty"`
	Priorities  int   `json:"mp_prio,omitempty"`
	Up          Flow  `json:"up"`
	Down        Flow  `json:"down"`
	Close       Close `json:"close"`
}

// Used tells that it carried data.
func (s *Subflow) Used() bool { return s.Up.Bytes+s.Down.Bytes > 0 }

// Bytes are those of both directions.
func (s *Subflow) Bytes() uint64 { return s.Up.Bytes + s.Down.Bytes }

// Flow is one direction of a subflow.
type Flow struct {
	// Bytes are those of the subflow's stream that the capture shows, each
	// counted once.
	Bytes uint64 `json:"bytes"`
	// Missing are bytes before the last one that it does not show.
	Missing       uint64 `json:"missing,omitempty"`
	Retransmitted uint64 `json:"retransmitted"`
	// Late are bytes that came after later ones: sent again after a loss before
	// the place of the capture, or out of order.
	Late uint64 `json:"late"`
	// Reinjected are bytes whose data the connection had carried before.
	Reinjected uint64 `json:"reinjected"`
	// RTT is the time from data to its ACK.
	RTT RTT `json:"rtt,omitzero"`
}

// Close is how a subflow ended.
type Close struct {
	How ClosedHow `json:"how"`
	By  string    `json:"by,omitempty"` // which side sent the RST, or the first FIN
	// Reason is that of MP_TCPRST.
	Reason string `json:"reason,omitempty"`
	// Transient tells that another attempt may succeed.
	Transient bool `json:"transient,omitempty"`
}

// ClosedHow is how a subflow ended.
type ClosedHow string

// How subflows end.
const (
	ByFIN       ClosedHow = "fin"
	HalfClosed  ClosedHow = "half-closed" // one side sent a FIN
	ByReset     ClosedHow = "reset"
	ByFastClose ClosedHow = "fastclose" // with a RST
	NotClosed   ClosedHow = "open"      // when the connection or the capture ended
)

// Announcement is an address that a side told of.
type Announcement struct {
	By   string     `json:"by"`
	ID   uint8      `json:"id"`
	Addr netip.Addr `json:"addr"`
	Port uint16     `json:"port,omitempty"`
	At   Millis     `json:"at_ms"`
}

// Removal is an ID of an address that a side took back.
type Removal struct {
	By string `json:"by"`
	ID uint8  `json:"id"`
	At Millis `json:"at_ms"`
}
