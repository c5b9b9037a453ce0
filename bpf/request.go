// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

const (
	// MaxRequests is how many requests of a connection may be in flight.
	MaxRequests = 8
	// RequestAttempts is how many packets carry a request whose echo does not
	// come, AnswerAttempts how many carry an answer.
	RequestAttempts = 10
	AnswerAttempts  = 2

	exID            = 0x5444 // not registered
	typeAt          = 2      // in the data of an option, behind the identifier
	echoBit         = 0x80
	kindExperiment  = 254
	kindUserTimeout = 28
)

// ErrBusy reports that too many requests of a connection are in flight.
var ErrBusy = errors.New("too many requests in flight")

// Record is a request, or the answer to one. What it means is up to those who
// use it.
type Record struct {
	Type  uint8 // below 128
	Value [3]byte
}

// Asked is something that came in a TCP option of a peer.
type Asked struct {
	Token   uint32 // local one of the connection
	Subflow uint32 // number of that on which it came (Event.Subflow)
	Record
	// Answer tells that it answers what was asked with Ask.
	Answer bool
	// UserTimeout is what a User Timeout Option (RFC 5482) said, the rest is
	// zero then; 0 if it was none.
	UserTimeout time.Duration
}

// Ask has a request written in a TCP option on pure ACKs of the connection, or
// only of the subflow with that number if it is not 0, until the answer comes
// or RequestAttempts packets have carried it. A later request of the same type
// replaces it. The connection is steered from then on, with its policy or the
// zero Policy.
func (s *Steering) Ask(token, subflow uint32, r Record) error {
	if r.Type >= echoBit {
		return fmt.Errorf("ask over connection %08x: %w: type %d", token, ErrPolicy, r.Type)
	}
	return s.write(outgoing{token, schedulerRequest{Option: experiment(r.Type, r.Value), Left: RequestAttempts, Subflow: subflow}})[0]
}

// Reply is the answer to a request, with what was granted.
type Reply struct {
	Token   uint32
	Subflow uint32 // to write it on, or 0
	Record
}

// Answer has answers written. The error is that of all that failed, nil for none.
func (s *Steering) Answer(replies ...Reply) error {
	list := make([]outgoing, len(replies))
	for i, r := range replies {
		list[i] = outgoing{r.Token, schedulerRequest{Option: experiment(r.Type|echoBit, r.Value), Left: AnswerAttempts, Subflow: r.Subflow}}
	}
	return errors.Join(s.write(list...)...)
}

// experiment is an experimental option (RFC 6994) of this experiment.
func experiment(kind uint8, value [3]byte) schedulerOption {
	o := schedulerOption{Kind: kindExperiment, Length: 8}
	binary.BigEndian.PutUint16(o.Data[:], exID)
	o.Data[typeAt] = kind
	copy(o.Data[typeAt+1:], value[:])
	return o
}

// User timeouts have 15 bits, of minutes if the bit before them is set
// (RFC 5482, section 2).
const (
	minutesBit     = 1 << 15
	maxUserTimeout = minutesBit - 1
)

// userTimeoutOption tells how long this end lets data stay without acknowledgement.
func userTimeoutOption(d time.Duration) (r schedulerRequest, err error) {
	coded, err := encodeUserTimeout(d)
	if err != nil {
		return r, err
	}
	r = schedulerRequest{Option: schedulerOption{Kind: kindUserTimeout, Length: 4}, Left: AnswerAttempts}
	binary.BigEndian.PutUint16(r.Option.Data[:], coded)
	return r, nil
}

func encodeUserTimeout(d time.Duration) (uint16, error) {
	seconds := (d + time.Second - 1) / time.Second
	minutes := (d + time.Minute - 1) / time.Minute
	switch {
	case d <= 0 || minutes > maxUserTimeout:
		return 0, fmt.Errorf("%w: user timeout %v", ErrPolicy, d)
	case seconds <= maxUserTimeout:
		return uint16(seconds), nil
	}
	return uint16(minutes) | minutesBit, nil
}

func decodeUserTimeout(coded uint16) time.Duration {
	if coded&minutesBit != 0 {
		return time.Duration(coded&^minutesBit) * time.Minute
	}
	return time.Duration(coded) * time.Second
}

// outgoing is a request, or an answer, of a connection.
type outgoing struct {
	token   uint32
	request schedulerRequest
}

// write puts each request in the place of one of its kind and type, or a free
// one, and has the subflows follow with one walk for all of them.
func (s *Steering) write(list ...outgoing) []error {
	errs := make([]error, len(list))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range list {
		if errs[i] = s.enqueue(o.token, o.request); errs[i] == nil {
			errs[i] = s.follow(o.token)
		}
	}
	subflows := make(map[uint32]int, len(list))
	for _, o := range list {
		subflows[o.token] = 0
	}
	walked := s.walk(func(token, _ uint32) {
		if _, ok := subflows[token]; ok {
			subflows[token]++
		}
	})
	for i, o := range list {
		if errs[i] == nil {
			errs[i] = walked
		}
		if walked == nil && subflows[o.token] == 0 {
			errs[i] = errors.Join(ErrNoSubflow, s.forget(o.token))
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("write to connection %08x: %w", o.token, errs[i])
		}
	}
	return errs
}

func (s *Steering) enqueue(token uint32, r schedulerRequest) error {
	outgoing := s.common.Maps[schedulerMapOutgoing]
	var requests schedulerRequests
	err := outgoing.Lookup(&token, &requests)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	free := -1
	for i, other := range requests.All {
		if sameRequest(other.Option, r.Option) {
			free = i
			break
		}
		if free < 0 && (other.Option.Kind == 0 || other.Left == 0) {
			free = i
		}
	}
	if free < 0 {
		return ErrBusy
	}
	requests.All[free] = r
	return outgoing.Put(&token, &requests)
}

func sameRequest(a, b schedulerOption) bool {
	return a.Kind == b.Kind && (a.Kind != kindExperiment || a.Data[typeAt] == b.Data[typeAt])
}

// follow gives a connection a policy, unless it has one: only subflows of such
// are steered.
func (s *Steering) follow(token uint32) error {
	policies := s.common.Maps[schedulerMapPolicies]
	raw, err := s.raw(Policy{})
	if err != nil {
		return err
	}
	s.generation++
	raw.Generation = s.generation
	err = policies.Update(&token, raw, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		return nil
	}
	return err
}

// Read waits for the next request, or answer, of a peer. The error is
// os.ErrClosed once the Programs are closed. It is for one goroutine. Peers that
// connect to this process may ask only with Options.Requests. A peer repeats
// what is not answered, and one that asks more often than every 5 ms is not
// heard: see Ignored.
func (s *Steering) Read(a *Asked) error {
	if err := s.incoming.ReadInto(&s.record); err != nil {
		return err
	}
	if len(s.record.RawSample) < int(unsafe.Sizeof(schedulerAsked{})) {
		return fmt.Errorf("request of %d bytes", len(s.record.RawSample))
	}
	*a = decodeAsked((*schedulerAsked)(unsafe.Pointer(unsafe.SliceData(s.record.RawSample))))
	return nil
}

// decodeAsked reads an option that a program has taken from a header.
func decodeAsked(raw *schedulerAsked) Asked {
	a := Asked{Token: raw.Token, Subflow: raw.Subflow}
	o := raw.Option
	if o.Kind == kindUserTimeout {
		a.UserTimeout = decodeUserTimeout(binary.BigEndian.Uint16(o.Data[:]))
		return a
	}
	a.Type, a.Answer = o.Data[typeAt]&^echoBit, o.Data[typeAt]&echoBit != 0
	copy(a.Value[:], o.Data[typeAt+1:])
	return a
}

// Ignored is how many requests and answers of peers were dropped since Open:
// too many at once, answers to what was never asked, and requests where nobody
// may ask.
func (s *Steering) Ignored() uint64 {
	var n uint64
	if err := s.common.Variables[schedulerVarIgnored].Get(&n); err != nil {
		return 0
	}
	return n
}
