// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
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
	objects synackObjects
	opened  closers
	cgroup  *os.File // of whose connections

	mu   sync.Mutex
	link io.Closer // nil while nothing is kept
}

func (s *SYNACKs) describe() (program, lost string) { return synackProgTandemSynack, synackLost }

func (s *SYNACKs) load(o Options) error {
	spec, err := loadSynack()
	if err != nil {
		return err
	}
	spec.Maps[synackMapSynacks].MaxEntries = cmp.Or(o.SYNACKs, DefaultSYNACKs)
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		return err
	}
	s.opened.add(&s.objects)
	return nil
}

func (s *SYNACKs) start(p *Programs) error {
	var err error
	if s.cgroup, err = p.cgroup.open(); err != nil {
		return err
	}
	s.opened.add(s.cgroup)
	if err := s.Keep(true); err != nil {
		return err
	}
	p.synacks = s
	return nil
}

// Keep says whether SYN-ACKs are kept from now on. They are from Open on, which
// costs each connection that is opened a few microseconds.
func (s *SYNACKs) Keep(on bool) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if on == (s.link != nil) {
		return nil
	}
	if on {
		l, err := attach(s.cgroup, s.objects.TandemSynack)
		if err == nil {
			s.link = l // a nil link in an interface is not nil
		}
		return err
	}
	err := s.link.Close()
	s.link = nil
	return err
}

func (s *SYNACKs) close() error { return errors.Join(s.Keep(false), s.opened.close()) }

// AppendOptions appends the TCP options, with their padding, of the SYN-ACK
// that established the connection or subflow from the local port to remote.
// They are there once the socket is connected. It reports false, and appends
// nothing, if they are not known: the answer is handed out once, and one that
// nobody asks for is dropped when too many are kept.
//
// Options are raw (RFC 9293 section 3.1), the key in MP_CAPABLE included.
func (s *SYNACKs) AppendOptions(dst []byte, local uint16, remote netip.AddrPort) ([]byte, bool) {
	if s == nil {
		return dst, false
	}
	key := synackConnection{LocalPort: local, RemotePort: remote.Port()}
	key.Remote.In6U.U6Addr8 = remote.Addr().As16()
	var options synackOptions
	if err := s.objects.Synacks.LookupAndDelete(&key, &options); err != nil {
		return dst, false
	}
	return append(dst, options.Bytes[:options.Length]...), true
}
