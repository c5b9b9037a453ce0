// SPDX-License-Identifier: Apache-2.0

package options

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		option Option
		text   string
		want   Value
		prints string // "": the text
	}{
		{Scheduler, "default", 0, ""},
		{Scheduler, "primary", 0x010000, ""},
		{Scheduler, "active-standby", 0x010000, "primary"},
		{Scheduler, "load-balancing", 0x030000, "round-robin"},
		{Scheduler, "priority-based", 0x050000, "overflow"},
		{Scheduler, "redundant", 0x060000, ""},
		{Scheduler, "weighted:80,20", 0x800000 | 80<<14 | 20<<7, ""},
		{Scheduler, "load-balancing:95,5", 0x800000 | 95<<14 | 5<<7, "weighted:95,5"},
		{Scheduler, "weighted:1,2,100", 0x800000 | 1<<14 | 2<<7 | 100, ""},
		{SubflowRateLimit, "4Mbit", 4000, ""},
		{SubflowRateLimit, "2:4Mbit", 0x200000 | 4000, ""},
		{SubflowRateLimit, "2:0", 0x200000, ""},
		{SubflowRateLimit, "0", 0, ""},
		{SubflowRateLimit, "1bit", 1, "1kbit"},
		{SubflowRateLimit, "1999bit", 1, "1kbit"},
		{SubflowRateLimit, "100Mbit", 1<<16 | 10000, ""},
		{SubflowRateLimit, "10Gbit", 3<<16 | 10000, ""},
		{SubflowRateLimit, "default", 0xfffff, ""},
		{SubflowRateLimit, "3:default", 0x3fffff, ""},
		{DelayThreshold, "30ms", 30, ""},
		{DelayThreshold, "1500us", 2, "2ms"},
		{InactivityTimeout, "5m", 300, ""},
		{InactivityTimeout, "1h", 3600, ""},
		{InactivityTimeout, "1h1s", 3601, "1h0m1s"},
		{CongestionControl, "bbr", 3, ""},
		{InitialWindow, "32", 32, ""},
		{UserTimeout, "2m", 120, ""},
		{UserTimeout, "10h", 0x8000 | 600, ""},
		{UserTimeout, "546h7m", 0xffff, ""},
		{DelayedACK, "25%", 25 << 8, ""},
		{DelayedACK, "2", 2, ""},
		{DelayedACK, "25%,2", 25<<8 | 2, ""},
	} {
		got, err := c.option.Parse(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s=%s: %#06x, %v; want %#06x", c.option, c.text, got, err, c.want)
		}
		want := c.prints
		if want == "" {
			want = c.text
		}
		if text := c.option.Text(got); text != want {
			t.Errorf("%s=%s: printed as %s", c.option, c.text, text)
		}
	}
}

// TestExamples: each option has an example, which is as it would be printed.
func TestExamples(t *testing.T) {
	for o := range All() {
		v, err := o.Parse(o.Example())
		if err != nil || v == o.Default() || o.Text(v) != o.Example() {
			t.Errorf("%s=%s is %q, %v", o, o.Example(), o.Text(v), err)
		}
	}
}

func TestBadValues(t *testing.T) {
	for _, c := range []struct {
		option Option
		text   string
		why    Why
	}{
		{Scheduler, "fastest", Malformed},
		{Scheduler, "weighted", Malformed},
		{Scheduler, "weighted:1", OutOfRange},
		{Scheduler, "weighted:1,0", OutOfRange},
		{Scheduler, "weighted:101,1", OutOfRange},
		{Scheduler, "weighted:1,2,3,4", OutOfRange},
		{Scheduler, "primary:1,2", Malformed},
		{SubflowRateLimit, "4", Malformed},
		{SubflowRateLimit, "4MB", Malformed},
		{SubflowRateLimit, "-4Mbit", Malformed},
		{SubflowRateLimit, "656Gbit", OutOfRange},
		{SubflowRateLimit, "99999999999999999999Gbit", OutOfRange},
		{SubflowRateLimit, "16:4Mbit", OutOfRange},
		{SubflowRateLimit, "0:4Mbit", OutOfRange},
		{DelayThreshold, "61s", OutOfRange},
		{DelayThreshold, "-1ms", OutOfRange},
		{DelayThreshold, "30", Malformed},
		{InactivityTimeout, "8760h", OutOfRange},
		{CongestionControl, "", Malformed},
		{CongestionControl, "fast", Malformed},
		{InitialWindow, "65536", OutOfRange},
		{InitialWindow, "ten", Malformed},
		{UserTimeout, "547h", OutOfRange},
		{DelayedACK, "", Malformed},
		{DelayedACK, "101%", OutOfRange},
		{DelayedACK, "256", OutOfRange},
		{DelayedACK, "25%,", Malformed},
		{DelayedACK, ",2", Malformed},
	} {
		if v, err := c.option.Parse(c.text); err == nil || whyOf(err) != c.why {
			t.Errorf("%s=%s: %#x, %v; want %s", c.option, c.text, v, err, c.why)
		}
	}
	if _, err := Named("sheduler"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := Option(99).Check(0); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown option: %v", err)
	}
}

// sets draws any set there can be.
func sets(t *rapid.T) Set {
	var s Set
	for o := range All() {
		if !rapid.Bool().Draw(t, o.String()) {
			continue
		}
		raw := rapid.OneOf(
			rapid.Uint32Range(0, maxValue),
			rapid.Uint32Range(0, 1<<16),
			rapid.Map(rapid.Uint32Range(0, 0xff), func(v uint32) uint32 { return v << 16 }),
			rapid.Map(rapid.SliceOfN(rapid.Uint8Range(1, MaxWeight), 3, 3), func(w []uint8) uint32 {
				return uint32(Schedule{ModeWeighted, Weights(w)}.Value())
			}),
		).Draw(t, "value")
		if next, err := s.With(o, Value(raw)); err == nil {
			s = next
		}
	}
	return s
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sets(t)
		if again, err := ParseSet(s.String()); err != nil || again != s {
			t.Fatalf("text %q: %q, %v", s, again, err)
		}
		r := ParseRequest(s.String())
		if r.Set != s || len(r.Bad) > 0 {
			t.Fatalf("user name %q: %+v", s, r)
		}
		echo := rapid.Bool().Draw(t, "echo")
		r, err := ReadRecords(s.AppendRecords(nil, echo), echo)
		if err != nil || r.Set != s || len(r.Bad) > 0 {
			t.Fatalf("records of %q: %+v, %v", s, r, err)
		}
		var again Set
		if b, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		} else if err := json.Unmarshal(b, &again); err != nil || again != s {
			t.Fatalf("%s: %q, %v", b, again, err)
		}
		if s.Over(Set{}) != s || (Set{}).Over(s) != s || s.Over(s) != s {
			t.Fatalf("%q over nothing, nothing over it, or it over itself", s)
		}
	})
}

// A duration is rounded up to the unit that its option has on the wire, whatever
// its length.
func TestDurations(t *testing.T) {
	for o, c := range map[Option]struct {
		of   func(Value) time.Duration
		most time.Duration
		unit func(time.Duration) time.Duration
	}{
		DelayThreshold:    {Value.DelayThreshold, MaxDelayThreshold, func(time.Duration) time.Duration { return time.Millisecond }},
		InactivityTimeout: {Value.InactivityTimeout, MaxInactivityTimeout, func(time.Duration) time.Duration { return time.Second }},
		UserTimeout: {Value.UserTimeout, MaxUserTimeout, func(d time.Duration) time.Duration {
			if d > userTimeouts*time.Second {
				return time.Minute
			}
			return time.Second
		}},
	} {
		rapid.Check(t, func(t *rapid.T) {
			d := time.Duration(rapid.Int64Range(1, int64(2*c.most)).Draw(t, "duration"))
			v, err := o.Parse(d.String())
			if d > c.most {
				if !errors.Is(err, ErrRange) {
					t.Fatalf("%s of %v: %v, %v", o, d, o.Text(v), err)
				}
				return
			}
			if got := c.of(v); err != nil || got < d || got >= d+c.unit(d) {
				t.Fatalf("%s of %v is %v, %v", o, d, got, err)
			}
		})
	}
}

// A value that a cap has shortened is not shortened again, and never greater
// than what was asked or than the cap.
func TestCapsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked, limit := sets(t), sets(t)
		for o, v := range asked.All() {
			most, ok := limit.Value(o)
			if !ok || !o.Capped() {
				continue
			}
			least := table[o].atMost(v, most)
			if checked, err := o.Check(least); err != nil || checked != least {
				t.Fatalf("%s=%s at most %s: %#x is %#x, %v", o, o.Text(v), o.Text(most), least, checked, err)
			}
			if again := table[o].atMost(least, most); again != least {
				t.Fatalf("%s=%s at most %s: %s, and then %s", o, o.Text(v), o.Text(most), o.Text(least), o.Text(again))
			}
		}
	})
}

func TestReadRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		bad   []Bad
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"two", []byte{1, 1, 0, 0, 2, 0, 0x0f, 0xa0}, nil, "scheduler=primary;subflow-rate-limit=4Mbit"},
		{"unknown", []byte{99, 1, 2, 3, 6, 0, 0, 10}, []Bad{{"63 01 02 03", 99, Unknown, ErrUnknown.Error()}}, "initial-window=10"},
		{"range", []byte{6, 1, 0, 0}, []Bad{{"06 01 00 00", InitialWindow, OutOfRange, ErrRange.Error()}}, ""},
		{"no such mode", []byte{1, 9, 0, 0}, []Bad{{"01 09 00 00", Scheduler, OutOfRange, "out of range: mode 9"}}, ""},
		{"minutes that are seconds", []byte{7, 0, 0x80, 5}, nil, "user-timeout=5m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ReadRecords(c.bytes, false)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.bad, r.Bad); d != "" || r.Set.String() != c.want {
				t.Errorf("set %q, bad (-want +got):\n%s", r.Set, d)
			}
		})
	}
}

func TestMalformedRecords(t *testing.T) {
	flood := make([]byte, 0, (MaxRecords+1)*RecordLen)
	for i := range MaxRecords + 1 {
		flood = append(flood, byte(i+1), 0, 0, 0)
	}
	for name, b := range map[string][]byte{
		"cut short": {1, 0, 0},
		"twice":     {1, 0, 0, 0, 1, 1, 0, 0},
		"type 0":    {0, 0, 0, 0},
		"echo":      {0x81, 0, 0, 0},
		"flood":     flood,
	} {
		if r, err := ReadRecords(b, false); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestParseRequest(t *testing.T) {
	r := ParseRequest("scheduler=primary;;colour=red;initial-window=1000000;scheduler=server;delay-threshold;user-timeout=x;x;y")
	if r.Set.String() != "scheduler=primary" {
		t.Errorf("set %q", r.Set)
	}
	var why []Why
	for _, b := range r.Bad {
		why = append(why, b.Why)
	}
	if want := []Why{Unknown, OutOfRange, Malformed, Malformed}; !slices.Equal(why, want) || r.More != 3 {
		t.Errorf("%v and %d more, want %v and 3", why, r.More, want)
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 2, 0, 0x0f, 0xa0}, false)
	f.Add([]byte{0x81, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, echo bool) {
		r, err := ReadRecords(b, echo)
		if err != nil {
			return
		}
		again, err := ReadRecords(r.Set.AppendRecords(nil, echo), echo)
		if err != nil || again.Set != r.Set {
			t.Fatalf("%q written and read again: %q, %v", r.Set, again.Set, err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add("scheduler=weighted:80,20;subflow-rate-limit=2:4Mbit;delayed-ack=25%,2")
	f.Add("inactivity-timeout=1y;=;;user-timeout=40000s")
	f.Fuzz(func(t *testing.T, text string) {
		r := ParseRequest(text)
		if len(r.Bad) > MaxBad {
			t.Fatalf("%d mistakes are kept", len(r.Bad))
		}
		if again, err := ParseSet(r.Set.String()); err != nil || again != r.Set {
			t.Fatalf("%q printed and read again: %q, %v", r.Set, again, err)
		}
	})
}

// FuzzValue has anything for a value on the wire: what an option can have is
// printed, read and written again as the same, and caps bound it.
func FuzzValue(f *testing.F) {
	for o := range All() {
		f.Add(uint8(o), uint32(o.Default()), uint32(1))
		f.Add(uint8(o), uint32(0x8a1405), uint32(0x10))
	}
	f.Add(uint8(99), uint32(1), uint32(2))
	f.Fuzz(func(t *testing.T, kind uint8, value, most uint32) {
		o := Option(kind)
		v, err := o.Check(Value(value))
		if err != nil {
			if o.Known() == errors.Is(err, ErrUnknown) {
				t.Fatalf("%s: %v", o, err)
			}
			return
		}
		if again, err := o.Parse(o.Text(v)); err != nil || again != v {
			t.Fatalf("%s 0x%x is %q, which is 0x%x, %v", o, v, o.Text(v), again, err)
		}
		r, err := ParseRecord(Record{Option: o, Value: v}.Append(nil))
		if err != nil || r.Option != o || r.Value != v || r.Echo {
			t.Fatalf("%s 0x%x comes as %+v, %v", o, v, r, err)
		}
		limit, err := o.Check(Value(most))
		if !o.Capped() || err != nil {
			return
		}
		least := table[o].atMost(v, limit)
		if checked, err := o.Check(least); err != nil || checked != least || table[o].atMost(least, limit) != least {
			t.Fatalf("%s 0x%x is capped by 0x%x to 0x%x, %v", o, v, limit, least, err)
		}
	})
}

func FuzzSetJSON(f *testing.F) {
	f.Add([]byte(`{"scheduler":"weighted:80,20","subflow-rate-limit":"2:0"}`))
	f.Add([]byte(`{"speed":"9"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Set
		if json.Unmarshal(b, &s) != nil {
			return
		}
		out, err := json.Marshal(s)
		if err == nil {
			err = json.Unmarshal(out, &again)
		}
		if err != nil || again != s {
			t.Fatalf("%s becomes %s: %v", b, out, err)
		}
	})
}
