// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"

	"github.com/cilium/ebpf"
)

const (
	// DefaultSYNACKs is enough for the connections that a gateway opens
	// between the SYN-ACK and the question for it, many times over.
	DefaultSYNACKs = 8192

	synackLost = "the Transport Converter cannot tell clients which TCP options a server answered with"
)

// SYNACKs knows the TCP options of the SYN-ACKs that connections opened by
// this process were answered with.
type SYNACKs struct {
	kept *ebpf.Map // of synackConnection to synackOptions
}

// loadSYNACKs loads the program and keeps its map.
func (p *Programs) loadSYNACKs(size uint32) (*ebpf.Program, error) {
	if size == 0 {
		size = DefaultSYNACKs
	}
	spec, err := loadSynack()
	if err != nil {
		return nil, err
	}
	spec.Maps[synackMapSynacks].MaxEntries = size
	var loaded synackObjects
	if err := spec.LoadAndAssign(&loaded, nil); err != nil {
		return nil, err
	}
	p.synacks = &SYNACKs{kept: loaded.Synacks}
	return loaded.TandemSynack, nil
}

// AppendOptions appends the TCP options, with their padding, of the SYN-ACK
// that established the connection or subflow from the local port to remote.
// They are there once the socket is connected. It reports false, and appends
// nothing, if they are not known: the answer is handed out once, and one that
// nobody asks for is dropped when too many are kept.
//
// Options are raw (RFC 9293 section 3.1), the key in MP_CAPABLE included.
func (s *SYNACKs) AppendOptions(dst []byte, local uint16, remote netip.AddrPort) ([]byte, bool) {
	key := synackConnection{LocalPort: local, RemotePort: remote.Port()}
	key.Remote.In6U.U6Addr8 = remote.Addr().As16()
	var options synackOptions
	if err := s.kept.LookupAndDelete(&key, &options); err != nil {
		return dst, false
	}
	return append(dst, options.Bytes[:options.Length]...), true
}
