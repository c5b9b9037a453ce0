// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/options"
)

// askWays are the ways to ask a converter.
var askWays = map[config.AskWay]options.Source{
	config.AskByRequest:   options.FromConvert,
	config.AskByTCPOption: options.FromTCPOption,
}

// Ask implements proxy.Tuner.
func (t *tuner) Ask(token uint32, s options.Set) {
	steering := t.steering.Load()
	if steering == nil {
		return
	}
	t.later(func() {
		for o, v := range s.All() {
			if err := steering.Ask(token, 0, recordOf(o, v)); err != nil {
				t.log.Debug("an option was not asked for", "option", o.String(), "err", err)
			}
		}
	})
}

// recordOf is an option as it travels.
func recordOf(o options.Option, v options.Value) bpf.Record {
	return bpf.Record{Type: uint8(o), Value: [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}}
}

// listen takes what peers ask and answer, until the programs are closed.
func (t *tuner) listen(steering *bpf.Steering) {
	var a bpf.Asked
	for steering.Read(&a) == nil {
		asked := a
		o, v := contentOf(&a)
		switch {
		case a.UserTimeout > 0:
			// What RFC 5482 has a peer announce is a wish, without an answer.
			t.request(&asked, o, v, false)
		case a.Answer:
			if v, err := o.Check(v); err == nil {
				t.server.Answered(a.Token, o, v)
			}
		default:
			t.laterIfRoom(func() { t.request(&asked, o, t.ofSubflow(&asked, o, v), true) })
		}
	}
}

// contentOf is what a TCP option says, as it came.
func contentOf(a *bpf.Asked) (options.Option, options.Value) {
	if a.UserTimeout > 0 {
		return options.UserTimeout, options.UserTimeoutValue(a.UserTimeout)
	}
	return options.Option(a.Type), options.Value(a.Value[0])<<16 | options.Value(a.Value[1])<<8 | options.Value(a.Value[2])
}

// requestFor is the request for one option.
func requestFor(o options.Option, v options.Value) options.Request {
	r := options.Request{From: options.FromTCPOption}
	set, err := options.Set{}.With(o, v)
	switch {
	case errors.Is(err, options.ErrUnknown):
		r.Bad = []options.Bad{{Text: fmt.Sprintf("type %d", uint8(o)), Why: options.Unknown, Detail: err.Error()}}
	case err != nil:
		r.Bad = []options.Bad{{Text: fmt.Sprintf("%s 0x%06x", o, uint32(v)), Option: o, Why: options.OutOfRange, Detail: err.Error()}}
	default:
		r.Set = set
	}
	return r
}

// request brings what a peer asks for, and answers with what it gets: an option
// that it does not get has its default.
func (t *tuner) request(a *bpf.Asked, o options.Option, v options.Value, answer bool) {
	t.server.Ask(a.Token, requestFor(o, v), func(granted options.Set) {
		if !answer || !o.Known() {
			return
		}
		value, ok := granted.Value(o)
		if !ok {
			value = o.Default()
		}
		t.answerLater(bpf.Reply{Token: a.Token, Subflow: a.Subflow, Record: recordOf(o, value)})
	})
}

// ofSubflow names the path that a rate limit is for which came on a subflow.
func (t *tuner) ofSubflow(a *bpf.Asked, o options.Option, v options.Value) options.Value {
	if o != options.SubflowRateLimit || v.RateLimit().Path != 0 {
		return v
	}
	limit := v.RateLimit()
	steering := t.steering.Load()
	state, err := steering.State(a.Token)
	if errors.Is(err, bpf.ErrNoSubflow) {
		// Paths are known of connections that are steered.
		if err = steering.Set(a.Token, bpf.Policy{}); err == nil {
			state, err = steering.State(a.Token)
		}
	}
	if err != nil {
		return v
	}
	for i := range state {
		if state[i].Subflow == a.Subflow {
			limit.Path = i + 1
		}
	}
	return limit.Value()
}
