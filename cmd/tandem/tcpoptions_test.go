// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/options/tuning"
)

// FuzzTCPOption has anything come in a TCP option: it is a request for one option
// that is in range, or a mistake, and the policy for the kernel follows from it.
func FuzzTCPOption(f *testing.F) {
	f.Add(uint8(1), uint8(0xff), uint8(0), uint8(0), uint16(0))
	f.Add(uint8(2), uint8(0x20), uint8(0), uint8(0), uint16(0))
	f.Add(uint8(6), uint8(0), uint8(0x27), uint8(0x10), uint16(0))
	f.Add(uint8(0), uint8(0), uint8(0), uint8(0), uint16(0xffff))
	f.Fuzz(func(t *testing.T, kind, a, b, c uint8, timeout uint16) {
		asked := bpf.Asked{Record: bpf.Record{Type: kind & 0x7f, Value: [3]byte{a, b, c}}, UserTimeout: time.Duration(timeout) * time.Minute}
		o, v := contentOf(&asked)
		r := requestFor(o, v)
		if r.Set.Empty() == (len(r.Bad) == 0) {
			t.Fatalf("%+v is %+v", asked, r)
		}
		got, ok := r.Set.Value(o)
		if !ok {
			return
		}
		if record := recordOf(o, got); record.Type != uint8(o) || timeout == 0 && o != options.UserTimeout && o != options.SubflowRateLimit && record.Value != asked.Value {
			t.Fatalf("%+v comes back as %+v", asked, record)
		}
		p := tuning.PolicyOf(r.Set)
		for i, path := range p.Paths {
			if path.Drain && (o != options.SubflowRateLimit || got.RateLimit().Path != 0 && got.RateLimit().Path != i+1) {
				t.Fatalf("%s=%s drains path %d", o, o.Text(got), i+1)
			}
		}
	})
}
